// linear_grad_x: dx = dy w, the gradient of a linear layer with respect to its input.
//   dx[m,k] = sum_n dy[m,n] w[n,k]     (ADD: dx[m,k] += the same sum)
// Shapes    dy f32 [M,S], of which columns 0..N count; w [N,K] in FORMAT; out dx f32 [M,K]
//           K a multiple of 4 (of 8 when w is packed), S of 4. Other sizes: linear_strided.wgsl
// Dispatch  8 rows x 8 columns a thread: (ceil(K / (8 WG_X)), ceil(M / (8 WG_Y)), 1)
// Numerics  f32, n strictly in order by fma (ADD: onto dx): bits do not depend on M, on the tile, on the kernel that
//           ran or on the windows of w
// Twin      src/ops/linear/linear.ts#linearGradF64
import package::lib::linear::{add_term, add_terms, dy, params, rows_from, weight4};
import package::lib::linear_grad::{start_tile, store_tile};

override WG_X: u32;
override WG_Y: u32;

// The last terms: a value of each row, of the vec4s at `at`.
fn column_of(at: vec4u, lane: u32) -> vec4f {
  return vec4f(dy[at.x][lane], dy[at.y][lane], dy[at.z][lane], dy[at.w][lane]);
}

@compute @workgroup_size(WG_X, WG_Y)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  // With WG_Y = 1 the rows are the same for all lanes, and the compiler should see that: dy is then read once.
  let m = (group.y * WG_Y + select(0u, local.y, WG_Y > 1u)) * 8u;
  let k = group.x * WG_X * 2u + local.x;
  let l = k + WG_X;  // the thread's second four columns
  let quads = params.width / 4u;
  if (m >= params.rows || k >= quads) { return; }
  let upper = rows_from(m, params.rows, params.stride / 4u);
  let lower = rows_from(m + 4u, params.rows, params.stride / 4u);
  let kept = min(l, quads - 1u);
  var s0 = start_tile(m, k); var t0 = start_tile(m, kept);
  var s1 = start_tile(m + 4u, k); var t1 = start_tile(m + 4u, kept);
  let whole = params.columns / 4u;
  for (var q = 0u; q < whole; q++) {
    let b = vec4u(q * 4u) * quads + vec4u(0u, 1u, 2u, 3u) * quads + k;
    let c = b - k + kept;
    let w4 = mat4x4f(weight4(b.x), weight4(b.y), weight4(b.z), weight4(b.w));
    let v4 = mat4x4f(weight4(c.x), weight4(c.y), weight4(c.z), weight4(c.w));
    let d = mat4x4f(dy[upper.x + q], dy[upper.y + q], dy[upper.z + q], dy[upper.w + q]);
    s0 = add_terms(s0, d, w4);
    t0 = add_terms(t0, d, v4);
    let e = mat4x4f(dy[lower.x + q], dy[lower.y + q], dy[lower.z + q], dy[lower.w + q]);
    s1 = add_terms(s1, e, w4);
    t1 = add_terms(t1, e, v4);
  }
  for (var n = whole * 4u; n < params.columns; n++) {
    let wn = weight4(n * quads + k);
    let vn = weight4(n * quads + kept);
    let d = column_of(upper + whole, n % 4u);
    let e = column_of(lower + whole, n % 4u);
    s0 = add_term(s0, d, wn);
    t0 = add_term(t0, d, vn);
    s1 = add_term(s1, e, wn);
    t1 = add_term(t1, e, vn);
  }
  store_tile(m, params.rows, k, s0);
  store_tile(m, params.rows, l, t0);
  store_tile(m + 4u, params.rows, k, s1);
  store_tile(m + 4u, params.rows, l, t1);
}
