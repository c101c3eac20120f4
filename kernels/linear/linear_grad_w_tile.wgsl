// linear_grad_w_tile: linear_grad_w for GPUs with fast workgroup memory. The same product, the same bits.
//   dw[n,k] += sum_m dy[m,n] x[m,k]
// Shapes    as linear_grad_w.wgsl
// Dispatch  a workgroup makes TILE_M rows x TILE_N columns of dw: (ceil(K / TILE_N), ceil(N / TILE_M), 1)
// Numerics  f32, rows m strictly in order by fma onto dw
// Why       as linear_tile.wgsl; dy and x lie m by m already
// Twin      src/ops/linear/linear.ts#linearGradF64
import package::lib::linear_layer::{dy, params, x};
import package::lib::linear_grad::{grad_tile, store_tile};
import package::lib::linear_slabs::{
  add_slabs, COLUMN_LINE, column_quad, COLUMN_QUADS, column_slab, Lane, LANES, LANES_X, LANES_Y, ROW_LINE, row_quad,
  ROW_QUADS, row_slab, Sums, TILE_K, TILE_M, TILE_N,
};

// Rows and columns beyond the last repeat it, and are not used.
fn stage_d(quad: u32, n: u32, m: u32) {
  let column = quad % (TILE_M / 4u);
  let depth = quad / (TILE_M / 4u);
  let row = min(m + depth, params.rows - 1u);
  row_slab[depth * ROW_LINE + column] = dy[row * (params.stride / 4u) + min(n + column, (params.columns - 1u) / 4u)];
}

fn stage_x(quad: u32, k: u32, m: u32) {
  let quads = params.width / 4u;
  let column = quad % (TILE_N / 4u);
  let depth = quad / (TILE_N / 4u);
  let row = min(m + depth, params.rows - 1u);
  column_slab[depth * COLUMN_LINE + column] = x[row * quads + min(k + column, quads - 1u)];
}

@compute @workgroup_size(LANES_X, LANES_Y)
fn main(lane: Lane) {
  let n = lane.group.y * (TILE_M / 4u);
  let k = lane.group.x * (TILE_N / 4u);
  let upper = (n + row_quad(lane, 0u)) * 4u;
  let lower = (n + row_quad(lane, 1u)) * 4u;
  let left = k + column_quad(lane, 0u);
  let right = k + column_quad(lane, 1u);
  let last = params.width / 4u - 1u;
  var sums: Sums;
  sums[0] = grad_tile(upper, params.columns, min(left, last));
  if (COLUMN_QUADS > 1u) { sums[1] = grad_tile(upper, params.columns, min(right, last)); }
  if (ROW_QUADS > 1u) { sums[2] = grad_tile(lower, params.columns, min(left, last)); }
  if (ROW_QUADS > 1u && COLUMN_QUADS > 1u) { sums[3] = grad_tile(lower, params.columns, min(right, last)); }
  for (var first = 0u; first < params.rows; first += TILE_K) {
    for (var quad = lane.number; quad < TILE_M * TILE_K / 4u; quad += LANES) { stage_d(quad, n, first); }
    for (var quad = lane.number; quad < TILE_N * TILE_K / 4u; quad += LANES) { stage_x(quad, k, first); }
    workgroupBarrier();
    add_slabs(params.rows - first, lane, &sums);
    workgroupBarrier();
  }
  store_tile(upper, params.columns, left, sums[0]);
  if (COLUMN_QUADS > 1u) { store_tile(upper, params.columns, right, sums[1]); }
  if (ROW_QUADS > 1u) { store_tile(lower, params.columns, left, sums[2]); }
  if (ROW_QUADS > 1u && COLUMN_QUADS > 1u) { store_tile(lower, params.columns, right, sums[3]); }
}
