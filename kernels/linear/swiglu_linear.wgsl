// swiglu_linear: the gate and up projections of Llama's MLP and their activation in one, for passes without gradient.
//   y[m,n] = silu(sum_k x[m,k] gate[n,k]) sum_k x[m,k] up[n,k],   silu(g) = g / (1 + exp(-g))
// Shapes    x f32 [M,K]; gate, up [N,K] in FORMAT; out y f32 [M,S], S >= N (columns N..S are left as they are)
//           K a multiple of 4 (of 8 when the weights are packed)
// Dispatch  8 rows x 4 columns a thread: (ceil(N / (4 WG_X)), ceil(M / (8 WG_Y)), 1)
// Numerics  f32, k strictly in order by fma: the bits of linear.wgsl, then of swiglu.wgsl
// Twin      src/ops/linear/swiglu_linear.ts#swigluLinearF64
import package::lib::linear_layer::{add_terms8, params, rows_from, Tiles, x_rows};
import package::lib::linear_swiglu::{gate, store, up};
import package::lib::weight::{quad_of, values4};

override WG_X: u32;
override WG_Y: u32;

fn gate4(i: u32) -> vec4f { return values4(gate[quad_of(i)], i); }
fn up4(i: u32) -> vec4f { return values4(up[quad_of(i)], i); }

fn store_quad(m: u32, n: u32, g: vec4f, u: vec4f) {
  store(m, n, g.x, u.x);
  store(m, n + 1u, g.y, u.y);
  store(m, n + 2u, g.z, u.z);
  store(m, n + 3u, g.w, u.w);
}

fn store_rows(m: u32, n: u32, g: mat4x4f, u: mat4x4f) {
  store_quad(m, n, g[0], u[0]);
  store_quad(m + 1u, n, g[1], u[1]);
  store_quad(m + 2u, n, g[2], u[2]);
  store_quad(m + 3u, n, g[3], u[3]);
}

@compute @workgroup_size(WG_X, WG_Y)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  // With WG_Y = 1 the rows are the same for all lanes, and the compiler should see that: x is then read once.
  let m = (group.y * WG_Y + select(0u, local.y, WG_Y > 1u)) * 8u;
  let n = (group.x * WG_X + local.x) * 4u;
  if (m >= params.rows || n >= params.columns) { return; }
  let quads = params.width / 4u;
  let upper = rows_from(m, params.rows, quads);
  let lower = rows_from(m + 4u, params.rows, quads);
  let column = rows_from(n, params.columns, quads);
  var tiles: Tiles;  // left of the gate, right of up
  for (var q = 0u; q < quads; q++) {
    // Columns of wT (gate) and vT (up): four weights each that meet the same k.
    let b = column + q;
    let wT = transpose(mat4x4f(gate4(b.x), gate4(b.y), gate4(b.z), gate4(b.w)));
    let vT = transpose(mat4x4f(up4(b.x), up4(b.y), up4(b.z), up4(b.w)));
    add_terms8(&tiles, x_rows(upper + q), x_rows(lower + q), wT, vT);
  }
  store_rows(m, n, tiles[0], tiles[1]);
  store_rows(m + 4u, n, tiles[2], tiles[3]);
}
