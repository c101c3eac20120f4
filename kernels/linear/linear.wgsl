// linear: y = x w^T + bias + residual, the forward pass of a linear layer.
//   y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + residual[m,n]
// Shapes    x f32 [M,K]; w [N,K] in FORMAT; bias [N] in BIAS_FORMAT where BIAS; residual, where RESIDUAL, and out
//           y f32 [M,S], S >= N (columns N..S are left as they are); K a multiple of 4 (of 8 when w is packed).
//           Other sizes: linear_strided.wgsl
// Dispatch  8 rows x 8 columns a thread: (ceil(N / (8 WG_X)), ceil(M / (8 WG_Y)), 1)
// Numerics  f32, k strictly in order by fma: bits do not depend on M, on the tile or on the kernel that ran
// Twin      src/ops/linear/linear.ts#linearF64     Gradient: linear_grad_x.wgsl (x), linear_grad_w.wgsl (w)
import package::lib::linear_layer::{add_terms8, params, rows_from, Tiles, w, x_rows};
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
  var tiles: Tiles;
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
      add_terms8(&tiles, x_rows(upper + q), x_rows(lower + q), wT, vT);
    }
  }
  store_tile(m, n, tiles[0]);
  store_tile(m, n + 4u, tiles[1]);
  store_tile(m + 4u, n, tiles[2]);
  store_tile(m + 4u, n + 4u, tiles[3]);
}
