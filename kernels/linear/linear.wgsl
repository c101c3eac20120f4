// linear: y = x w^T + bias + residual, the forward pass of a linear layer.
//   y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + residual[m,n]
// Shapes    x f32 [M,K]; w [N,K] in FORMAT; bias [N] in BIAS_FORMAT where BIAS; residual, where RESIDUAL, and out
//           y f32 [M,S], S >= N (columns N..S are left as they are); K a multiple of 4 (of 8 when w is packed).
//           Other sizes: linear_strided.wgsl
// Dispatch  8 rows x 8 columns a thread: (ceil(N / (8 WG_X)), ceil(M / (8 WG_Y)), 1)
// Numerics  f32, k strictly in order by fma: bits do not depend on M, on the tile or on the kernel that ran
// Twin      src/ops/linear/linear.ts#linearF64     Gradient: linear_grad_x.wgsl (x), linear_grad_w.wgsl (w)
import package::lib::linear::{add_terms, params, rows_from, w, x};
import package::lib::linear_output::store_tile;
import package::lib::weight::{quads_per_load, values4};

override WG_X: u32;
override WG_Y: u32;

@compute @workgroup_size(WG_X, WG_Y)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  // With WG_Y = 1 the rows are the same for all lanes, and the compiler should see that: x is then read once.
  let m = (group.y * WG_Y + select(0u, local.y, WG_Y > 1u)) * 8u;
  let n = (group.x * WG_X + local.x) * 8u;
  if (m >= params.rows || n >= params.columns) { return; }
  let quads = params.width / 4u;
  let loads = quads / quads_per_load();  // of 16 bytes in a row of w
  let upper = rows_from(m, params.rows, quads);
  let lower = rows_from(m + 4u, params.rows, quads);
  let left = rows_from(n, params.columns, loads);
  let right = rows_from(n + 4u, params.columns, loads);
  var s0 = mat4x4f(); var s1 = mat4x4f();
  var t0 = mat4x4f(); var t1 = mat4x4f();
  for (var i = 0u; i < loads; i++) {
    let w0 = w[left.x + i];
    let w1 = w[left.y + i];
    let w2 = w[left.z + i];
    let w3 = w[left.w + i];
    let v0 = w[right.x + i];
    let v1 = w[right.y + i];
    let v2 = w[right.z + i];
    let v3 = w[right.w + i];
    for (var half = 0u; half < quads_per_load(); half++) {
      // Columns of wT and vT: four weights each that meet the same k.
      let wT = transpose(mat4x4f(values4(w0, half), values4(w1, half), values4(w2, half), values4(w3, half)));
      let vT = transpose(mat4x4f(values4(v0, half), values4(v1, half), values4(v2, half), values4(v3, half)));
      let q = i * quads_per_load() + half;
      let a = mat4x4f(x[upper.x + q], x[upper.y + q], x[upper.z + q], x[upper.w + q]);
      s0 = add_terms(s0, a, wT);
      t0 = add_terms(t0, a, vT);
      let b = mat4x4f(x[lower.x + q], x[lower.y + q], x[lower.z + q], x[lower.w + q]);
      s1 = add_terms(s1, b, wT);
      t1 = add_terms(t1, b, vT);
    }
  }
  store_tile(m, n, s0);
  store_tile(m, n + 4u, t0);
  store_tile(m + 4u, n, s1);
  store_tile(m + 4u, n + 4u, t1);
}
