// linear_few: y = x w^T + bias + residual for few rows, as in decoding, where reading w is the cost.
//   y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + residual[m,n]
// Shapes    x f32 [M,K]; w [N,K] in FORMAT; bias [N] in BIAS_FORMAT where BIAS; residual, where RESIDUAL, and out
//           y f32 [M,S], S >= N (columns N..S are left as they are); K a multiple of 4 (of 8 when w is packed).
//           Other sizes: linear_strided.wgsl
// Dispatch  ROWS rows x 4 columns a thread: (ceil(N / (4 WG)), ceil(M / ROWS), 1)
// Numerics  f32, k strictly in order by fma: the same bits as linear.wgsl
// Why       Four columns a thread share its loads of x. On a CPU, where each value is a load of its own, a loop of one
//           load a column leaves them in registers: longer ones were slower
// Twin      src/ops/linear/linear.ts#linearF64     Gradient: linear_grad_x.wgsl (x), linear_grad_w.wgsl (w)
import package::lib::grid::WG;
import package::lib::linear_layer::{add4, params, rows_from, w, x};
import package::lib::linear_output::store;
import package::lib::weight::{FORMAT, quads_per_load, unpack4};

override ROWS: u32;  // 1, 2 or 4

fn store_row(m: u32, n: u32, sums: vec4f) {
  store(m, n, sums.x);
  store(m, n + WG, sums.y);
  store(m, n + 2u * WG, sums.z);
  store(m, n + 3u * WG, sums.w);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let m = group.y * ROWS;
  let n = group.x * WG * 4u + lane;
  if (n >= params.columns) { return; }
  let quads = params.width / 4u;
  let loads = quads / quads_per_load();  // of 16 bytes in a row of w
  let a = rows_from(m, params.rows, quads);
  let b = min(vec4u(n) + vec4u(0u, 1u, 2u, 3u) * WG, vec4u(params.columns - 1u)) * loads;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  for (var i = 0u; i < loads; i++) {
    let w0 = w[b.x + i];
    let w1 = w[b.y + i];
    let w2 = w[b.z + i];
    let w3 = w[b.w + i];
    // Columns of wT and vT: four weights each that meet the same k.
    if (FORMAT == 0u) {
      let wT = transpose(mat4x4f(bitcast<vec4f>(w0), bitcast<vec4f>(w1), bitcast<vec4f>(w2), bitcast<vec4f>(w3)));
      s0 = add4(s0, x[a.x + i], wT);
      if (ROWS > 1u) { s1 = add4(s1, x[a.y + i], wT); }
      if (ROWS > 2u) {
        s2 = add4(s2, x[a.z + i], wT);
        s3 = add4(s3, x[a.w + i], wT);
      }
    } else {
      let q = 2u * i;
      let wT = transpose(mat4x4f(unpack4(w0.xy), unpack4(w1.xy), unpack4(w2.xy), unpack4(w3.xy)));
      let vT = transpose(mat4x4f(unpack4(w0.zw), unpack4(w1.zw), unpack4(w2.zw), unpack4(w3.zw)));
      s0 = add4(add4(s0, x[a.x + q], wT), x[a.x + q + 1u], vT);
      if (ROWS > 1u) { s1 = add4(add4(s1, x[a.y + q], wT), x[a.y + q + 1u], vT); }
      if (ROWS > 2u) {
        s2 = add4(add4(s2, x[a.z + q], wT), x[a.z + q + 1u], vT);
        s3 = add4(add4(s3, x[a.w + q], wT), x[a.w + q + 1u], vT);
      }
    }
  }
  store_row(m, n, s0);
  if (ROWS > 1u) { store_row(m + 1u, n, s1); }
  if (ROWS > 2u) {
    store_row(m + 2u, n, s2);
    store_row(m + 3u, n, s3);
  }
}
