// linear_grad_w_simd8: linear_grad_w for subgroups of 8 lanes. The same sums, the same bits.
//   dw[n,k] += sum_m dy[m,n] x[m,k]
// Shapes    as linear_grad_w.wgsl
// Dispatch  a workgroup is one subgroup and makes 16 rows x 32 columns of dw: (ceil(K/32), ceil(N/16), 1)
// Numerics  f32, rows m strictly in order by fma onto dw
// Why       as in lib/subgroup8.wgsl. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/linear/linear.ts#linearGradF64
import package::lib::linear_layer::{add_term, add_terms, dy, params, x, x_rows};
import package::lib::linear_grad::{grad_tile, store_tile};
enable subgroups;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group.y * 16u;
  let k = group.x * 8u + lane;
  let quads = params.width / 4u;
  let pitch = params.stride / 4u;
  let column = min(k, quads - 1u);
  // Of four rows of dy, 16 columns each, a lane loads four columns of two. Broadcast and turned, they are rows of dw.
  let row = lane / 4u;
  let quad = min(n / 4u + lane % 4u, (params.columns - 1u) / 4u);
  var s0 = grad_tile(n, params.columns, column);
  var s1 = grad_tile(n + 4u, params.columns, column);
  var s2 = grad_tile(n + 8u, params.columns, column);
  var s3 = grad_tile(n + 12u, params.columns, column);
  let whole = params.rows / 4u * 4u;
  for (var m = 0u; m < whole; m += 4u) {
    let a = dy[(m + row) * pitch + quad];
    let b = dy[(m + 2u + row) * pitch + quad];
    let xs = x_rows((vec4u(m) + vec4u(0u, 1u, 2u, 3u)) * quads + column);
    let d0 = transpose(mat4x4f(
      subgroupBroadcast(a, 0u), subgroupBroadcast(a, 4u), subgroupBroadcast(b, 0u), subgroupBroadcast(b, 4u),
    ));
    s0 = add_terms(s0, d0, xs);
    let d1 = transpose(mat4x4f(
      subgroupBroadcast(a, 1u), subgroupBroadcast(a, 5u), subgroupBroadcast(b, 1u), subgroupBroadcast(b, 5u),
    ));
    s1 = add_terms(s1, d1, xs);
    let d2 = transpose(mat4x4f(
      subgroupBroadcast(a, 2u), subgroupBroadcast(a, 6u), subgroupBroadcast(b, 2u), subgroupBroadcast(b, 6u),
    ));
    s2 = add_terms(s2, d2, xs);
    let d3 = transpose(mat4x4f(
      subgroupBroadcast(a, 3u), subgroupBroadcast(a, 7u), subgroupBroadcast(b, 3u), subgroupBroadcast(b, 7u),
    ));
    s3 = add_terms(s3, d3, xs);
  }
  for (var m = whole; m < params.rows; m++) {
    let d = dy[m * pitch + quad];
    let xm = x[m * quads + column];
    s0 = add_term(s0, subgroupBroadcast(d, 0u), xm);
    s1 = add_term(s1, subgroupBroadcast(d, 1u), xm);
    s2 = add_term(s2, subgroupBroadcast(d, 2u), xm);
    s3 = add_term(s3, subgroupBroadcast(d, 3u), xm);
  }
  store_tile(n, params.columns, k, s0);
  store_tile(n + 4u, params.columns, k, s1);
  store_tile(n + 8u, params.columns, k, s2);
  store_tile(n + 12u, params.columns, k, s3);
}
