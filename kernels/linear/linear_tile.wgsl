// linear_tile: linear for GPUs with fast workgroup memory. The same product, the same bits.
//   y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + residual[m,n]
// Shapes    as linear.wgsl
// Dispatch  a workgroup makes TILE_M rows x TILE_N columns: (ceil(N / TILE_N), ceil(M / TILE_M), 1)
// Numerics  f32, k strictly in order by fma
// Why       A value of x is loaded once per TILE_N columns and one of w once per TILE_M rows: lib/linear_slabs.wgsl
// Twin      src/ops/linear/linear.ts#linearF64
import package::lib::linear_layer::{params, rows_from, weight_rows, x_rows};
import package::lib::linear_output::store_tile;
import package::lib::linear_slabs::{
  add_slabs, block_depth, block_quad, column_quad, COLUMN_QUADS, Lane, LANES, LANES_X, LANES_Y, row_quad, ROW_QUADS,
  stage_columns, stage_rows, Sums, TILE_K, TILE_M, TILE_N,
};

// Rows, columns and k beyond the last repeat it, and are not used.
fn stage_x(block: u32, m: u32, first: u32) {
  let quads = params.width / 4u;
  let q = min(first + block_depth(block), quads - 1u);
  stage_rows(block, x_rows(rows_from(m + block_quad(block) * 4u, params.rows, quads) + q));
}

fn stage_w(block: u32, n: u32, first: u32) {
  let quads = params.width / 4u;
  let q = min(first + block_depth(block), quads - 1u);
  stage_columns(block, weight_rows(rows_from(n + block_quad(block) * 4u, params.columns, quads) + q));
}

@compute @workgroup_size(LANES_X, LANES_Y)
fn main(lane: Lane) {
  let m = lane.group.y * TILE_M;
  let n = lane.group.x * TILE_N;
  var sums: Sums;
  for (var first = 0u; first < params.width; first += TILE_K) {
    for (var block = lane.number; block < TILE_M * TILE_K / 16u; block += LANES) { stage_x(block, m, first / 4u); }
    for (var block = lane.number; block < TILE_N * TILE_K / 16u; block += LANES) { stage_w(block, n, first / 4u); }
    workgroupBarrier();
    add_slabs(params.width - first, lane, &sums);
    workgroupBarrier();
  }
  let upper = m + row_quad(lane, 0u) * 4u;
  let lower = m + row_quad(lane, 1u) * 4u;
  let left = n + column_quad(lane, 0u) * 4u;
  let right = n + column_quad(lane, 1u) * 4u;
  store_tile(upper, left, sums[0]);
  if (COLUMN_QUADS > 1u) { store_tile(upper, right, sums[1]); }
  if (ROW_QUADS > 1u) { store_tile(lower, left, sums[2]); }
  if (ROW_QUADS > 1u && COLUMN_QUADS > 1u) { store_tile(lower, right, sums[3]); }
}
