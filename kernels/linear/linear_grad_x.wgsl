// linear_grad_x: dx = dy w, the gradient of a linear layer with respect to its input.
//   dx[m,k] = sum_n dy[m,n] w[n,k]     (ADD: dx[m,k] += the same sum)
// Shapes    dy f32 [M,S], of which columns 0..N count; w [N,K] in FORMAT; out dx f32 [M,K]
//           K a multiple of 4 (of 8 when w is packed), S of 4. Other sizes: linear_strided.wgsl
// Dispatch  8 rows x 8 columns a thread: (ceil(K / (8 WG_X)), ceil(M / (8 WG_Y)), 1)
// Numerics  f32, n strictly in order by fma (ADD: onto dx): bits do not depend on M, on the tile, on the kernel that
//           ran or on the windows of w
// Twin      src/ops/linear/linear.ts#linearGradF64
import package::lib::linear_grad::{start_tile, store_tiles};
import package::lib::linear_layer::{
  add_term8, add_terms8, dy, dy_rows, params, rows_from, Tiles, weight4, weight_rows,
};

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
  var tiles = Tiles(start_tile(m, k), start_tile(m, kept), start_tile(m + 4u, k), start_tile(m + 4u, kept));
  let whole = params.columns / 4u;
  for (var q = 0u; q < whole; q++) {
    let n = (vec4u(q * 4u) + vec4u(0u, 1u, 2u, 3u)) * quads;
    add_terms8(&tiles, dy_rows(upper + q), dy_rows(lower + q), weight_rows(n + k), weight_rows(n + kept));
  }
  for (var n = whole * 4u; n < params.columns; n++) {
    let d = column_of(upper + whole, n % 4u);
    let e = column_of(lower + whole, n % 4u);
    add_term8(&tiles, d, e, weight4(n * quads + k), weight4(n * quads + kept));
  }
  store_tiles(m, params.rows, k, l, tiles);
}
