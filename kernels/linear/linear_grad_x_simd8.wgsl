// linear_grad_x_simd8: linear_grad_x for subgroups of 8 lanes. The same product, the same bits.
//   dx[m,k] = sum_n dy[m,n] w[n,k]     (ADD: dx[m,k] += the same sum)
// Shapes    as linear_grad_x.wgsl, N a multiple of 4
// Dispatch  a workgroup is one subgroup and makes 16 rows x 32 columns: (ceil(K/32), ceil(M/16), 1)
// Numerics  f32, n strictly in order by fma (ADD: onto dx)
// Why       as in lib/subgroup8.wgsl. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/linear/linear.ts#linearGradF64
import package::lib::linear::{add_terms, dy, params, weight4};
import package::lib::linear_grad::{start_tile, store_tile};
import package::lib::subgroup8::{first_rows, last_rows};
enable subgroups;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let m = group.y * 16u;
  let k = group.x * 8u + lane;
  let quads = params.width / 4u;
  let upper = min(m + lane, params.rows - 1u) * (params.stride / 4u);
  let lower = min(m + 8u + lane, params.rows - 1u) * (params.stride / 4u);
  let column = min(k, quads - 1u);
  var s0 = start_tile(m, column); var s1 = start_tile(m + 4u, column);
  var s2 = start_tile(m + 8u, column); var s3 = start_tile(m + 12u, column);
  for (var q = 0u; q < params.columns / 4u; q++) {
    let d = dy[upper + q];
    let e = dy[lower + q];
    let b = q * 4u * quads + column;
    let w4 = mat4x4f(weight4(b), weight4(b + quads), weight4(b + 2u * quads), weight4(b + 3u * quads));
    s0 = add_terms(s0, first_rows(d), w4);
    s1 = add_terms(s1, last_rows(d), w4);
    s2 = add_terms(s2, first_rows(e), w4);
    s3 = add_terms(s3, last_rows(e), w4);
  }
  store_tile(m, params.rows, k, s0);
  store_tile(m + 4u, params.rows, k, s1);
  store_tile(m + 8u, params.rows, k, s2);
  store_tile(m + 12u, params.rows, k, s3);
}
