// linear_grad_x: dx = dy w, the gradient of a linear layer with respect to its input.
//   dx[m,k] = sum_n dy[m,n] w[n,k]     (ADD: dx[m,k] += the same sum)
// Shapes    dy f32 [M,S], of which columns 0..N count; w [N,K] in FORMAT; out dx f32 [M,K]
//           K a multiple of 4 (of 8 when w is packed), S of 4. Other sizes: linear_strided.wgsl
// Dispatch  8 rows x 8 columns a thread: (ceil(K / (8 WG_X)), ceil(M / (8 WG_Y)), 1)
// Numerics  f32, n strictly in order by fma (ADD: onto dx): bits do not depend on M, on the tile, on the kernel that ran
//           or on the windows of w
// Twin      src/ops/linear/linear.ts#linearGradF64
override WG_X: u32 = 8u;
override WG_Y: u32 = 1u;
override FORMAT: u32 = 0u;  // of w: 0 f32, 1 bf16 pairs, 2 f16 pairs
override ADD: u32 = 0u;     // 1: go on from dx, for w in windows of rows

struct Params { rows: u32, width: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> dy: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

fn unpack4(words: vec2u) -> vec4f {
  if (FORMAT == 1u) {
    return bitcast<vec4f>(vec4u(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
  }
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

// Values 4i .. 4i+3 of the weight.
fn weight4(i: u32) -> vec4f {
  if (FORMAT == 0u) { return bitcast<vec4f>(w[i]); }
  let quad = w[i / 2u];
  return unpack4(select(quad.xy, quad.zw, (i & 1u) == 1u));
}

fn start(m: u32, k: u32) -> vec4f {
  if (ADD == 0u) { return vec4f(); }
  return dx[min(m, params.rows - 1u) * (params.width / 4u) + k];
}

fn storeRow(m: u32, k: u32, sums: vec4f) {
  if (m < params.rows && k < params.width / 4u) { dx[m * (params.width / 4u) + k] = sums; }
}

@compute @workgroup_size(WG_X, WG_Y)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  // With WG_Y = 1 the rows are the same for all lanes, and the compiler should see that: dy is then read once.
  let m = (group.y * WG_Y + select(0u, local.y, WG_Y > 1u)) * 8u;
  let k = group.x * WG_X * 2u + local.x;
  let l = k + WG_X;  // the thread's second four columns
  let quads = params.width / 4u;
  if (m >= params.rows || k >= quads) { return; }
  let step = params.stride / 4u;
  let last = params.rows - 1u;
  let a0 = m * step;
  let a1 = min(m + 1u, last) * step;
  let a2 = min(m + 2u, last) * step;
  let a3 = min(m + 3u, last) * step;
  let a4 = min(m + 4u, last) * step;
  let a5 = min(m + 5u, last) * step;
  let a6 = min(m + 6u, last) * step;
  let a7 = min(m + 7u, last) * step;
  let kept = min(l, quads - 1u);
  var s0 = start(m, k); var t0 = start(m, kept);
  var s1 = start(m + 1u, k); var t1 = start(m + 1u, kept);
  var s2 = start(m + 2u, k); var t2 = start(m + 2u, kept);
  var s3 = start(m + 3u, k); var t3 = start(m + 3u, kept);
  var s4 = start(m + 4u, k); var t4 = start(m + 4u, kept);
  var s5 = start(m + 5u, k); var t5 = start(m + 5u, kept);
  var s6 = start(m + 6u, k); var t6 = start(m + 6u, kept);
  var s7 = start(m + 7u, k); var t7 = start(m + 7u, kept);
  let whole = params.columns / 4u;
  for (var q = 0u; q < whole; q++) {
    let b = q * 4u * quads + k;
    let c = q * 4u * quads + kept;
    let w0 = weight4(b); let w1 = weight4(b + quads); let w2 = weight4(b + 2u * quads); let w3 = weight4(b + 3u * quads);
    let v0 = weight4(c); let v1 = weight4(c + quads); let v2 = weight4(c + 2u * quads); let v3 = weight4(c + 3u * quads);
    let d0 = dy[a0 + q];
    s0 = fma(vec4f(d0.w), w3, fma(vec4f(d0.z), w2, fma(vec4f(d0.y), w1, fma(vec4f(d0.x), w0, s0))));
    t0 = fma(vec4f(d0.w), v3, fma(vec4f(d0.z), v2, fma(vec4f(d0.y), v1, fma(vec4f(d0.x), v0, t0))));
    let d1 = dy[a1 + q];
    s1 = fma(vec4f(d1.w), w3, fma(vec4f(d1.z), w2, fma(vec4f(d1.y), w1, fma(vec4f(d1.x), w0, s1))));
    t1 = fma(vec4f(d1.w), v3, fma(vec4f(d1.z), v2, fma(vec4f(d1.y), v1, fma(vec4f(d1.x), v0, t1))));
    let d2 = dy[a2 + q];
    s2 = fma(vec4f(d2.w), w3, fma(vec4f(d2.z), w2, fma(vec4f(d2.y), w1, fma(vec4f(d2.x), w0, s2))));
    t2 = fma(vec4f(d2.w), v3, fma(vec4f(d2.z), v2, fma(vec4f(d2.y), v1, fma(vec4f(d2.x), v0, t2))));
    let d3 = dy[a3 + q];
    s3 = fma(vec4f(d3.w), w3, fma(vec4f(d3.z), w2, fma(vec4f(d3.y), w1, fma(vec4f(d3.x), w0, s3))));
    t3 = fma(vec4f(d3.w), v3, fma(vec4f(d3.z), v2, fma(vec4f(d3.y), v1, fma(vec4f(d3.x), v0, t3))));
    let d4 = dy[a4 + q];
    s4 = fma(vec4f(d4.w), w3, fma(vec4f(d4.z), w2, fma(vec4f(d4.y), w1, fma(vec4f(d4.x), w0, s4))));
    t4 = fma(vec4f(d4.w), v3, fma(vec4f(d4.z), v2, fma(vec4f(d4.y), v1, fma(vec4f(d4.x), v0, t4))));
    let d5 = dy[a5 + q];
    s5 = fma(vec4f(d5.w), w3, fma(vec4f(d5.z), w2, fma(vec4f(d5.y), w1, fma(vec4f(d5.x), w0, s5))));
    t5 = fma(vec4f(d5.w), v3, fma(vec4f(d5.z), v2, fma(vec4f(d5.y), v1, fma(vec4f(d5.x), v0, t5))));
    let d6 = dy[a6 + q];
    s6 = fma(vec4f(d6.w), w3, fma(vec4f(d6.z), w2, fma(vec4f(d6.y), w1, fma(vec4f(d6.x), w0, s6))));
    t6 = fma(vec4f(d6.w), v3, fma(vec4f(d6.z), v2, fma(vec4f(d6.y), v1, fma(vec4f(d6.x), v0, t6))));
    let d7 = dy[a7 + q];
    s7 = fma(vec4f(d7.w), w3, fma(vec4f(d7.z), w2, fma(vec4f(d7.y), w1, fma(vec4f(d7.x), w0, s7))));
    t7 = fma(vec4f(d7.w), v3, fma(vec4f(d7.z), v2, fma(vec4f(d7.y), v1, fma(vec4f(d7.x), v0, t7))));
  }
  for (var n = whole * 4u; n < params.columns; n++) {
    let wn = weight4(n * quads + k);
    let vn = weight4(n * quads + kept);
    let lane = n % 4u;
    s0 = fma(vec4f(dy[a0 + whole][lane]), wn, s0);
    t0 = fma(vec4f(dy[a0 + whole][lane]), vn, t0);
    s1 = fma(vec4f(dy[a1 + whole][lane]), wn, s1);
    t1 = fma(vec4f(dy[a1 + whole][lane]), vn, t1);
    s2 = fma(vec4f(dy[a2 + whole][lane]), wn, s2);
    t2 = fma(vec4f(dy[a2 + whole][lane]), vn, t2);
    s3 = fma(vec4f(dy[a3 + whole][lane]), wn, s3);
    t3 = fma(vec4f(dy[a3 + whole][lane]), vn, t3);
    s4 = fma(vec4f(dy[a4 + whole][lane]), wn, s4);
    t4 = fma(vec4f(dy[a4 + whole][lane]), vn, t4);
    s5 = fma(vec4f(dy[a5 + whole][lane]), wn, s5);
    t5 = fma(vec4f(dy[a5 + whole][lane]), vn, t5);
    s6 = fma(vec4f(dy[a6 + whole][lane]), wn, s6);
    t6 = fma(vec4f(dy[a6 + whole][lane]), vn, t6);
    s7 = fma(vec4f(dy[a7 + whole][lane]), wn, s7);
    t7 = fma(vec4f(dy[a7 + whole][lane]), vn, t7);
  }
  storeRow(m, k, s0);
  storeRow(m, l, t0);
  storeRow(m + 1u, k, s1);
  storeRow(m + 1u, l, t1);
  storeRow(m + 2u, k, s2);
  storeRow(m + 2u, l, t2);
  storeRow(m + 3u, k, s3);
  storeRow(m + 3u, l, t3);
  storeRow(m + 4u, k, s4);
  storeRow(m + 4u, l, t4);
  storeRow(m + 5u, k, s5);
  storeRow(m + 5u, l, t5);
  storeRow(m + 6u, k, s6);
  storeRow(m + 6u, l, t6);
  storeRow(m + 7u, k, s7);
  storeRow(m + 7u, l, t7);
}
