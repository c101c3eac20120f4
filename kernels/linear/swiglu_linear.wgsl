// swiglu_linear: the gate and up projections of Llama's MLP and their activation in one, for passes without gradient.
//   y[m,n] = silu(sum_k x[m,k] gate[n,k]) sum_k x[m,k] up[n,k],   silu(g) = g / (1 + exp(-g))
// Shapes    x f32 [M,K]; gate, up [N,K] in FORMAT; out y f32 [M,S], S >= N (columns N..S are left as they are)
//           K a multiple of 4 (of 8 when the weights are packed)
// Dispatch  8 rows x 4 columns a thread: (ceil(N / (4 WG_X)), ceil(M / (8 WG_Y)), 1)
// Numerics  f32, k strictly in order by fma: the bits of linear.wgsl, then of swiglu.wgsl
// Twin      src/ops/linear/swiglu_linear.ts#swigluLinearF64
override WG_X: u32 = 8u;
override WG_Y: u32 = 1u;
override FORMAT: u32 = 0u;  // of gate and up: 0 f32, 1 bf16 pairs, 2 f16 pairs

struct Params { rows: u32, width: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> gate: array<vec4u>;
@group(0) @binding(2) var<storage, read> up: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

fn unpack4(words: vec2u) -> vec4f {
  if (FORMAT == 1u) {
    return bitcast<vec4f>(vec4u(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
  }
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

// Values 4i .. 4i+3 of a weight.
fn gate4(i: u32) -> vec4f {
  if (FORMAT == 0u) { return bitcast<vec4f>(gate[i]); }
  let quad = gate[i / 2u];
  return unpack4(select(quad.xy, quad.zw, (i & 1u) == 1u));
}

fn up4(i: u32) -> vec4f {
  if (FORMAT == 0u) { return bitcast<vec4f>(up[i]); }
  let quad = up[i / 2u];
  return unpack4(select(quad.xy, quad.zw, (i & 1u) == 1u));
}

fn store_row(m: u32, n: u32, g: vec4f, u: vec4f) {
  if (m >= params.rows) { return; }
  let values = g / (1.0 + exp(-g)) * u;
  for (var j = 0u; j < 4u; j++) {
    if (n + j < params.columns) { y[m * params.stride + n + j] = values[j]; }
  }
}

@compute @workgroup_size(WG_X, WG_Y)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  // With WG_Y = 1 the rows are the same for all lanes, and the compiler should see that: x is then read once.
  let m = (group.y * WG_Y + select(0u, local.y, WG_Y > 1u)) * 8u;
  let n = (group.x * WG_X + local.x) * 4u;
  if (m >= params.rows || n >= params.columns) { return; }
  let quads = params.width / 4u;
  let lastRow = params.rows - 1u;
  let lastColumn = params.columns - 1u;
  let a0 = m * quads;
  let a1 = min(m + 1u, lastRow) * quads;
  let a2 = min(m + 2u, lastRow) * quads;
  let a3 = min(m + 3u, lastRow) * quads;
  let a4 = min(m + 4u, lastRow) * quads;
  let a5 = min(m + 5u, lastRow) * quads;
  let a6 = min(m + 6u, lastRow) * quads;
  let a7 = min(m + 7u, lastRow) * quads;
  let b0 = n * quads;
  let b1 = min(n + 1u, lastColumn) * quads;
  let b2 = min(n + 2u, lastColumn) * quads;
  let b3 = min(n + 3u, lastColumn) * quads;
  var s0 = vec4f(); var t0 = vec4f(); var s1 = vec4f(); var t1 = vec4f();
  var s2 = vec4f(); var t2 = vec4f(); var s3 = vec4f(); var t3 = vec4f();
  var s4 = vec4f(); var t4 = vec4f(); var s5 = vec4f(); var t5 = vec4f();
  var s6 = vec4f(); var t6 = vec4f(); var s7 = vec4f(); var t7 = vec4f();
  for (var q = 0u; q < quads; q++) {
    // Columns of wT (gate) and vT (up): four weights each that meet the same k.
    let wT = transpose(mat4x4f(gate4(b0 + q), gate4(b1 + q), gate4(b2 + q), gate4(b3 + q)));
    let vT = transpose(mat4x4f(up4(b0 + q), up4(b1 + q), up4(b2 + q), up4(b3 + q)));
    let x0 = x[a0 + q];
    s0 = fma(vec4f(x0.w), wT[3], fma(vec4f(x0.z), wT[2], fma(vec4f(x0.y), wT[1], fma(vec4f(x0.x), wT[0], s0))));
    t0 = fma(vec4f(x0.w), vT[3], fma(vec4f(x0.z), vT[2], fma(vec4f(x0.y), vT[1], fma(vec4f(x0.x), vT[0], t0))));
    let x1 = x[a1 + q];
    s1 = fma(vec4f(x1.w), wT[3], fma(vec4f(x1.z), wT[2], fma(vec4f(x1.y), wT[1], fma(vec4f(x1.x), wT[0], s1))));
    t1 = fma(vec4f(x1.w), vT[3], fma(vec4f(x1.z), vT[2], fma(vec4f(x1.y), vT[1], fma(vec4f(x1.x), vT[0], t1))));
    let x2 = x[a2 + q];
    s2 = fma(vec4f(x2.w), wT[3], fma(vec4f(x2.z), wT[2], fma(vec4f(x2.y), wT[1], fma(vec4f(x2.x), wT[0], s2))));
    t2 = fma(vec4f(x2.w), vT[3], fma(vec4f(x2.z), vT[2], fma(vec4f(x2.y), vT[1], fma(vec4f(x2.x), vT[0], t2))));
    let x3 = x[a3 + q];
    s3 = fma(vec4f(x3.w), wT[3], fma(vec4f(x3.z), wT[2], fma(vec4f(x3.y), wT[1], fma(vec4f(x3.x), wT[0], s3))));
    t3 = fma(vec4f(x3.w), vT[3], fma(vec4f(x3.z), vT[2], fma(vec4f(x3.y), vT[1], fma(vec4f(x3.x), vT[0], t3))));
    let x4 = x[a4 + q];
    s4 = fma(vec4f(x4.w), wT[3], fma(vec4f(x4.z), wT[2], fma(vec4f(x4.y), wT[1], fma(vec4f(x4.x), wT[0], s4))));
    t4 = fma(vec4f(x4.w), vT[3], fma(vec4f(x4.z), vT[2], fma(vec4f(x4.y), vT[1], fma(vec4f(x4.x), vT[0], t4))));
    let x5 = x[a5 + q];
    s5 = fma(vec4f(x5.w), wT[3], fma(vec4f(x5.z), wT[2], fma(vec4f(x5.y), wT[1], fma(vec4f(x5.x), wT[0], s5))));
    t5 = fma(vec4f(x5.w), vT[3], fma(vec4f(x5.z), vT[2], fma(vec4f(x5.y), vT[1], fma(vec4f(x5.x), vT[0], t5))));
    let x6 = x[a6 + q];
    s6 = fma(vec4f(x6.w), wT[3], fma(vec4f(x6.z), wT[2], fma(vec4f(x6.y), wT[1], fma(vec4f(x6.x), wT[0], s6))));
    t6 = fma(vec4f(x6.w), vT[3], fma(vec4f(x6.z), vT[2], fma(vec4f(x6.y), vT[1], fma(vec4f(x6.x), vT[0], t6))));
    let x7 = x[a7 + q];
    s7 = fma(vec4f(x7.w), wT[3], fma(vec4f(x7.z), wT[2], fma(vec4f(x7.y), wT[1], fma(vec4f(x7.x), wT[0], s7))));
    t7 = fma(vec4f(x7.w), vT[3], fma(vec4f(x7.z), vT[2], fma(vec4f(x7.y), vT[1], fma(vec4f(x7.x), vT[0], t7))));
  }
  store_row(m, n, s0, t0);
  store_row(m + 1u, n, s1, t1);
  store_row(m + 2u, n, s2, t2);
  store_row(m + 3u, n, s3, t3);
  store_row(m + 4u, n, s4, t4);
  store_row(m + 5u, n, s5, t5);
  store_row(m + 6u, n, s6, t6);
  store_row(m + 7u, n, s7, t7);
}
