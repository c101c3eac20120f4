// linear_grad_w: the gradient of a linear layer with respect to its weight, added to what is there.
//   dw[n,k] += sum_m dy[m,n] x[m,k]
// Shapes    dy f32 [M,S], of which columns 0..N count; x f32 [M,K]; in and out dw f32 [N,K]
//           K and S multiples of 4. Other sizes: linear_strided.wgsl
// Dispatch  8 rows x 8 columns of dw a thread: (ceil(K / (8 WG_X)), ceil(N / (8 WG_Y)), 1)
// Numerics  f32, rows m strictly in order by fma onto dw, so splitting them over several calls gives the same bits
// Twin      src/ops/linear/linear.ts#linearGradF64
import package::lib::linear::{add_term, dy, params, x};
import package::lib::linear_grad::{grad_tile, store_tile};

override WG_X: u32;
override WG_Y: u32;

@compute @workgroup_size(WG_X, WG_Y)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  // With WG_Y = 1 the columns of dy are the same for all lanes, and the compiler should see that.
  let n = (group.y * WG_Y + select(0u, local.y, WG_Y > 1u)) * 8u;
  let k = group.x * WG_X * 2u + local.x;
  let l = k + WG_X;  // the thread's second four columns
  let quads = params.width / 4u;
  if (n >= params.columns || k >= quads) { return; }
  let pitch = params.stride / 4u;
  let near = n / 4u;
  let far = min(near + 1u, pitch - 1u);
  let kept = min(l, quads - 1u);
  var s0 = grad_tile(n, params.columns, k); var t0 = grad_tile(n, params.columns, kept);
  var s1 = grad_tile(n + 4u, params.columns, k); var t1 = grad_tile(n + 4u, params.columns, kept);
  for (var m = 0u; m < params.rows; m++) {
    let xm = x[m * quads + k];
    let zm = x[m * quads + kept];
    let d = dy[m * pitch + near];
    let e = dy[m * pitch + far];
    s0 = add_term(s0, d, xm);
    t0 = add_term(t0, d, zm);
    s1 = add_term(s1, e, xm);
    t1 = add_term(t1, e, zm);
  }
  store_tile(n, params.columns, k, s0);
  store_tile(n, params.columns, l, t0);
  store_tile(n + 4u, params.columns, k, s1);
  store_tile(n + 4u, params.columns, l, t1);
}
