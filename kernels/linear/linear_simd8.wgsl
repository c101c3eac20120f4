// linear_simd8: linear for subgroups of 8 lanes. The same product, the same bits.
//   y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + residual[m,n]
// Shapes    as linear.wgsl
// Dispatch  a workgroup is one subgroup and makes TILE_ROWS rows x 32 columns: (ceil(N/32), ceil(M/TILE_ROWS), 1)
// Numerics  f32, k strictly in order by fma
// Why       as in lib/subgroup8.wgsl. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/linear/linear.ts#linearF64
import package::lib::linear_layer::{params, rows_from, w, x};
import package::lib::linear_output::store_tile;
import package::lib::subgroup8::{add_rows, EightRows};
import package::lib::weight::{quads_per_load, values4};
enable subgroups;

override TILE_ROWS: u32;  // 8 or 16

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let m = group.y * TILE_ROWS;
  let n = group.x * 32u + lane * 4u;
  let quads = params.width / 4u;
  let loads = quads / quads_per_load();  // of 16 bytes in a row of w
  let above = min(m + lane, params.rows - 1u) * quads;
  let below = min(m + 8u + lane, params.rows - 1u) * quads;
  let column = rows_from(n, params.columns, loads);
  var upper: EightRows;
  var lower: EightRows;
  for (var i = 0u; i < loads; i++) {
    let w0 = w[column.x + i];
    let w1 = w[column.y + i];
    let w2 = w[column.z + i];
    let w3 = w[column.w + i];
    for (var half = 0u; half < quads_per_load(); half++) {
      let wT = transpose(mat4x4f(values4(w0, half), values4(w1, half), values4(w2, half), values4(w3, half)));
      let q = i * quads_per_load() + half;
      add_rows(&upper, x[above + q], wT);
      if (TILE_ROWS > 8u) { add_rows(&lower, x[below + q], wT); }
    }
  }
  store_tile(m, n, upper[0]);
  store_tile(m + 4u, n, upper[1]);
  if (TILE_ROWS > 8u) {
    store_tile(m + 8u, n, lower[0]);
    store_tile(m + 12u, n, lower[1]);
  }
}
