// linear_grad_w: the gradient of a linear layer with respect to its weight, added to what is there.
//   dw[n,k] += sum_m dy[m,n] x[m,k]
// Shapes    dy f32 [M,S], of which columns 0..N count; x f32 [M,K]; in and out dw f32 [N,K]
//           K and S multiples of 4. Other sizes: linear_strided.wgsl
// Dispatch  8 rows x 8 columns of dw a thread: (ceil(K / (8 WG_X)), ceil(N / (8 WG_Y)), 1)
// Numerics  f32, rows m strictly in order by fma onto dw, so splitting them over several calls gives the same bits
// Twin      src/ops/linear/linear.ts#linearGradF64
import package::lib::linear_grad::{grad_tile, store_tiles};
import package::lib::linear_layer::{add_term8, dy, params, Tiles, x};

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
  var tiles = Tiles(
    grad_tile(n, params.columns, k),
    grad_tile(n, params.columns, kept),
    grad_tile(n + 4u, params.columns, k),
    grad_tile(n + 4u, params.columns, kept),
  );
  for (var m = 0u; m < params.rows; m++) {
    add_term8(&tiles, dy[m * pitch + near], dy[m * pitch + far], x[m * quads + k], x[m * quads + kept]);
  }
  store_tiles(n, params.columns, k, l, tiles);
}
