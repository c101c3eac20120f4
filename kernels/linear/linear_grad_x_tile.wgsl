// linear_grad_x_tile: linear_grad_x for GPUs with fast workgroup memory. The same product, the same bits.
//   dx[m,k] = sum_n dy[m,n] w[n,k]     (ADD: dx[m,k] += the same sum)
// Shapes    as linear_grad_x.wgsl
// Dispatch  a workgroup makes TILE_M rows x TILE_N columns of dx: (ceil(K / TILE_N), ceil(M / TILE_M), 1)
// Numerics  f32, n strictly in order by fma (ADD: onto dx)
// Why       as linear_tile.wgsl; w lies n by n already
// Twin      src/ops/linear/linear.ts#linearGradF64
import package::lib::linear_layer::{dy_rows, params, rows_from, weight4};
import package::lib::linear_grad::{start_tile, store_tile};
import package::lib::linear_slabs::{
  add_slabs, block_depth, block_quad, COLUMN_LINE, column_quad, COLUMN_QUADS, column_slab, Lane, LANES, LANES_X,
  LANES_Y, row_quad, ROW_QUADS, stage_rows, Sums, TILE_K, TILE_M, TILE_N,
};

// Rows and n beyond the last repeat it, and are not used.
fn stage_d(block: u32, m: u32, first: u32) {
  let q = min(first + block_depth(block), (params.columns - 1u) / 4u);
  stage_rows(block, dy_rows(rows_from(m + block_quad(block) * 4u, params.rows, params.stride / 4u) + q));
}

fn stage_w(quad: u32, k: u32, n: u32) {
  let quads = params.width / 4u;
  let column = quad % (TILE_N / 4u);
  let depth = quad / (TILE_N / 4u);
  let row = min(n + depth, params.columns - 1u);
  column_slab[depth * COLUMN_LINE + column] = weight4(row * quads + min(k + column, quads - 1u));
}

@compute @workgroup_size(LANES_X, LANES_Y)
fn main(lane: Lane) {
  let m = lane.group.y * TILE_M;
  let k = lane.group.x * (TILE_N / 4u);
  let upper = m + row_quad(lane, 0u) * 4u;
  let lower = m + row_quad(lane, 1u) * 4u;
  let left = k + column_quad(lane, 0u);
  let right = k + column_quad(lane, 1u);
  let last = params.width / 4u - 1u;
  var sums: Sums;
  sums[0] = start_tile(upper, min(left, last));
  if (COLUMN_QUADS > 1u) { sums[1] = start_tile(upper, min(right, last)); }
  if (ROW_QUADS > 1u) { sums[2] = start_tile(lower, min(left, last)); }
  if (ROW_QUADS > 1u && COLUMN_QUADS > 1u) { sums[3] = start_tile(lower, min(right, last)); }
  for (var first = 0u; first < params.columns; first += TILE_K) {
    for (var block = lane.number; block < TILE_M * TILE_K / 16u; block += LANES) { stage_d(block, m, first / 4u); }
    for (var quad = lane.number; quad < TILE_N * TILE_K / 4u; quad += LANES) { stage_w(quad, k, first); }
    workgroupBarrier();
    add_slabs(params.columns - first, lane, &sums);
    workgroupBarrier();
  }
  store_tile(upper, params.rows, left, sums[0]);
  if (COLUMN_QUADS > 1u) { store_tile(upper, params.rows, right, sums[1]); }
  if (ROW_QUADS > 1u) { store_tile(lower, params.rows, left, sums[2]); }
  if (ROW_QUADS > 1u && COLUMN_QUADS > 1u) { store_tile(lower, params.rows, right, sums[3]); }
}
