// linear: y = x w^T + bias + residual, the forward pass of a linear layer.
//   y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + residual[m,n]
// Shapes    x f32 [M,K]; w [N,K] in FORMAT; bias [N] in BIAS; residual and out y f32 [M,S], S >= N (columns N..S
//           are left as they are); K a multiple of 4 (of 8 when w is packed), S of 4. Other sizes: linear_strided.wgsl
// Dispatch  8 rows x 8 columns a thread: (ceil(N / (8 WG_X)), ceil(M / (8 WG_Y)), 1)
// Numerics  f32, k strictly in order by fma: bits do not depend on M, on the tile or on the kernel that ran
// Twin      src/ops/linear/linear.ts#linearF64     Gradient: linear_grad_x.wgsl (x), linear_grad_w.wgsl (w)
override WG_X: u32 = 8u;
override WG_Y: u32 = 1u;
override FORMAT: u32 = 0u;  // of w: 0 f32, 1 bf16 pairs, 2 f16 pairs
override BIAS: u32 = 0u;    // 0 none, else 1 + its format
override RESIDUAL: u32 = 0u;  // 1: add it

struct Params { rows: u32, width: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4u>;
@group(0) @binding(2) var<storage, read> bias: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

fn unpack4(words: vec2u) -> vec4f {
  if (FORMAT == 1u) {
    return bitcast<vec4f>(vec4u(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
  }
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

// Four values of 16 bytes of the weight: all of them in f32, else the half of that number.
fn four(words: vec4u, half: u32) -> vec4f {
  if (FORMAT == 0u) { return bitcast<vec4f>(words); }
  return unpack4(select(words.xy, words.zw, half == 1u));
}

fn biasAt(n: u32) -> f32 {
  if (BIAS == 1u) { return bitcast<f32>(bias[n]); }
  let word = bias[n / 2u];
  let high = (n & 1u) == 1u;
  if (BIAS == 2u) { return bitcast<f32>(select(word << 16u, word & 0xffff0000u, high)); }
  let pair = unpack2x16float(word);
  return select(pair.x, pair.y, high);
}

fn storeRow(m: u32, n: u32, sums: vec4f) {
  if (m >= params.rows) { return; }
  for (var j = 0u; j < 4u; j++) {
    if (n + j >= params.columns) { return; }
    var value = sums[j];
    if (BIAS != 0u) { value += biasAt(n + j); }
    let at = m * params.stride + n + j;
    if (RESIDUAL != 0u) { value += residual[at]; }
    y[at] = value;
  }
}

@compute @workgroup_size(WG_X, WG_Y)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  // With WG_Y = 1 the rows are the same for all lanes, and the compiler should see that: x is then read once.
  let m = (group.y * WG_Y + select(0u, local.y, WG_Y > 1u)) * 8u;
  let n = (group.x * WG_X + local.x) * 8u;
  if (m >= params.rows || n >= params.columns) { return; }
  let quads = params.width / 4u;
  let perLoad = select(2u, 1u, FORMAT == 0u);  // quads in 16 bytes of w
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
  let b0 = n * quads / perLoad;
  let b1 = min(n + 1u, lastColumn) * quads / perLoad;
  let b2 = min(n + 2u, lastColumn) * quads / perLoad;
  let b3 = min(n + 3u, lastColumn) * quads / perLoad;
  let b4 = min(n + 4u, lastColumn) * quads / perLoad;
  let b5 = min(n + 5u, lastColumn) * quads / perLoad;
  let b6 = min(n + 6u, lastColumn) * quads / perLoad;
  let b7 = min(n + 7u, lastColumn) * quads / perLoad;
  var s0 = vec4f(); var t0 = vec4f(); var s1 = vec4f(); var t1 = vec4f();
  var s2 = vec4f(); var t2 = vec4f(); var s3 = vec4f(); var t3 = vec4f();
  var s4 = vec4f(); var t4 = vec4f(); var s5 = vec4f(); var t5 = vec4f();
  var s6 = vec4f(); var t6 = vec4f(); var s7 = vec4f(); var t7 = vec4f();
  for (var i = 0u; i < quads / perLoad; i++) {
    let w0 = w[b0 + i];
    let w1 = w[b1 + i];
    let w2 = w[b2 + i];
    let w3 = w[b3 + i];
    let w4 = w[b4 + i];
    let w5 = w[b5 + i];
    let w6 = w[b6 + i];
    let w7 = w[b7 + i];
    for (var half = 0u; half < perLoad; half++) {
      let q = i * perLoad + half;
      // Columns of wT and vT: four weights each that meet the same k.
      let wT = transpose(mat4x4f(four(w0, half), four(w1, half), four(w2, half), four(w3, half)));
      let vT = transpose(mat4x4f(four(w4, half), four(w5, half), four(w6, half), four(w7, half)));
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
  }
  storeRow(m, n, s0);
  storeRow(m, n + 4u, t0);
  storeRow(m + 1u, n, s1);
  storeRow(m + 1u, n + 4u, t1);
  storeRow(m + 2u, n, s2);
  storeRow(m + 2u, n + 4u, t2);
  storeRow(m + 3u, n, s3);
  storeRow(m + 3u, n + 4u, t3);
  storeRow(m + 4u, n, s4);
  storeRow(m + 4u, n + 4u, t4);
  storeRow(m + 5u, n, s5);
  storeRow(m + 5u, n + 4u, t5);
  storeRow(m + 6u, n, s6);
  storeRow(m + 6u, n + 4u, t6);
  storeRow(m + 7u, n, s7);
  storeRow(m + 7u, n + 4u, t7);
}
