// linear_grad_x_simd8: linear_grad_x for subgroups of 8 lanes. The same product, the same bits.
//   dx[m,k] = sum_n dy[m,n] w[n,k]     (ADD: dx[m,k] += the same sum)
// Shapes    as linear_grad_x.wgsl, N a multiple of 4
// Dispatch  a workgroup is one subgroup and makes 16 rows x 32 columns: (ceil(K/32), ceil(M/16), 1)
// Numerics  f32, n strictly in order by fma (ADD: onto dx)
// Why       as in lib/subgroup8.wgsl. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/linear/linear.ts#linearGradF64
import package::lib::linear_layer::{dy, params, weight_rows};
import package::lib::linear_grad::{start_tile, store_tile};
import package::lib::subgroup8::{add_rows, EightRows};
enable subgroups;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let m = group.y * 16u;
  let k = group.x * 8u + lane;
  let quads = params.width / 4u;
  let above = min(m + lane, params.rows - 1u) * (params.stride / 4u);
  let below = min(m + 8u + lane, params.rows - 1u) * (params.stride / 4u);
  let column = min(k, quads - 1u);
  var upper = EightRows(start_tile(m, column), start_tile(m + 4u, column));
  var lower = EightRows(start_tile(m + 8u, column), start_tile(m + 12u, column));
  for (var q = 0u; q < params.columns / 4u; q++) {
    // Loads before sums: between them they were slower on a CPU.
    let d = dy[above + q];
    let e = dy[below + q];
    let w4 = weight_rows((vec4u(q * 4u) + vec4u(0u, 1u, 2u, 3u)) * quads + column);
    add_rows(&upper, d, w4);
    add_rows(&lower, e, w4);
  }
  store_tile(m, params.rows, k, upper[0]);
  store_tile(m + 4u, params.rows, k, upper[1]);
  store_tile(m + 8u, params.rows, k, lower[0]);
  store_tile(m + 12u, params.rows, k, lower[1]);
}
