// linear_grad_w: the gradient of a linear layer with respect to its weight, added to what is there.
//   dw[n,k] += sum_m dy[m,n] x[m,k]
// Shapes    dy f32 [M,S], of which columns 0..N count; x f32 [M,K]; in and out dw f32 [N,K]
//           K and S multiples of 4. Other sizes: linear_strided.wgsl
// Dispatch  8 rows x 8 columns of dw a thread: (ceil(K / (8 WG_X)), ceil(N / (8 WG_Y)), 1)
// Numerics  f32, rows m strictly in order by fma onto dw, so splitting them over several calls gives the same bits
// Twin      src/ops/linear/linear.ts#linearGradF64
override WG_X: u32 = 8u;
override WG_Y: u32 = 1u;

struct Params { rows: u32, width: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> dy: array<vec4f>;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dw: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

fn load(n: u32, k: u32) -> vec4f {
  return dw[min(n, params.columns - 1u) * (params.width / 4u) + k];
}

fn store(n: u32, k: u32, sums: vec4f) {
  if (n < params.columns && k < params.width / 4u) { dw[n * (params.width / 4u) + k] = sums; }
}

@compute @workgroup_size(WG_X, WG_Y)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  // With WG_Y = 1 the columns of dy are the same for all lanes, and the compiler should see that.
  let n = (group.y * WG_Y + select(0u, local.y, WG_Y > 1u)) * 8u;
  let k = group.x * WG_X * 2u + local.x;
  let l = k + WG_X;  // the thread's second four columns
  let quads = params.width / 4u;
  if (n >= params.columns || k >= quads) { return; }
  let step = params.stride / 4u;
  let near = n / 4u;
  let far = min(near + 1u, step - 1u);
  let kept = min(l, quads - 1u);
  var s0 = load(n, k); var t0 = load(n, kept);
  var s1 = load(n + 1u, k); var t1 = load(n + 1u, kept);
  var s2 = load(n + 2u, k); var t2 = load(n + 2u, kept);
  var s3 = load(n + 3u, k); var t3 = load(n + 3u, kept);
  var s4 = load(n + 4u, k); var t4 = load(n + 4u, kept);
  var s5 = load(n + 5u, k); var t5 = load(n + 5u, kept);
  var s6 = load(n + 6u, k); var t6 = load(n + 6u, kept);
  var s7 = load(n + 7u, k); var t7 = load(n + 7u, kept);
  for (var m = 0u; m < params.rows; m++) {
    let xm = x[m * quads + k];
    let zm = x[m * quads + kept];
    let d = dy[m * step + near];
    let e = dy[m * step + far];
    s0 = fma(vec4f(d.x), xm, s0);
    t0 = fma(vec4f(d.x), zm, t0);
    s1 = fma(vec4f(d.y), xm, s1);
    t1 = fma(vec4f(d.y), zm, t1);
    s2 = fma(vec4f(d.z), xm, s2);
    t2 = fma(vec4f(d.z), zm, t2);
    s3 = fma(vec4f(d.w), xm, s3);
    t3 = fma(vec4f(d.w), zm, t3);
    s4 = fma(vec4f(e.x), xm, s4);
    t4 = fma(vec4f(e.x), zm, t4);
    s5 = fma(vec4f(e.y), xm, s5);
    t5 = fma(vec4f(e.y), zm, t5);
    s6 = fma(vec4f(e.z), xm, s6);
    t6 = fma(vec4f(e.z), zm, t6);
    s7 = fma(vec4f(e.w), xm, s7);
    t7 = fma(vec4f(e.w), zm, t7);
  }
  store(n, k, s0);
  store(n, l, t0);
  store(n + 1u, k, s1);
  store(n + 1u, l, t1);
  store(n + 2u, k, s2);
  store(n + 2u, l, t2);
  store(n + 3u, k, s3);
  store(n + 3u, l, t3);
  store(n + 4u, k, s4);
  store(n + 4u, l, t4);
  store(n + 5u, k, s5);
  store(n + 5u, l, t5);
  store(n + 6u, k, s6);
  store(n + 6u, l, t6);
  store(n + 7u, k, s7);
  store(n + 7u, l, t7);
}
