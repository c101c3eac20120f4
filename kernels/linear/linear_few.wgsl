// linear_few: y = x w^T + bias + residual for few rows, as in decoding, where reading w is the cost.
//   y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + residual[m,n]
// Shapes    x f32 [M,K]; w [N,K] in FORMAT; bias [N] in BIAS; residual and out y f32 [M,S], S >= N (columns N..S
//           are left as they are); K a multiple of 4 (of 8 when w is packed). Other sizes: linear_strided.wgsl
// Dispatch  ROWS rows x 4 columns a thread: (ceil(N / (4 WG)), ceil(M / ROWS), 1)
// Numerics  f32, k strictly in order by fma: the same bits as linear.wgsl
// Why       Four columns a thread share its loads of x. On a CPU, where each value is a load of its own, a loop of one load
//           a column leaves them in registers: longer ones were slower
// Twin      src/ops/linear/linear.ts#linearF64     Gradient: linear_grad_x.wgsl (x), linear_grad_w.wgsl (w)
override WG: u32 = 32u;
override ROWS: u32 = 4u;      // 1, 2 or 4
override FORMAT: u32 = 0u;    // of w: 0 f32, 1 bf16 pairs, 2 f16 pairs
override BIAS: u32 = 0u;      // 0 none, else 1 + its format
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

fn bias_at(n: u32) -> f32 {
  if (BIAS == 1u) { return bitcast<f32>(bias[n]); }
  let word = bias[n / 2u];
  let high = (n & 1u) == 1u;
  if (BIAS == 2u) { return bitcast<f32>(select(word << 16u, word & 0xffff0000u, high)); }
  let pair = unpack2x16float(word);
  return select(pair.x, pair.y, high);
}

fn store(m: u32, n: u32, sum: f32) {
  if (m >= params.rows || n >= params.columns) { return; }
  var value = sum;
  if (BIAS != 0u) { value += bias_at(n); }
  let at = m * params.stride + n;
  if (RESIDUAL != 0u) { value += residual[at]; }
  y[at] = value;
}

fn store_row(m: u32, n: u32, sums: vec4f) {
  store(m, n, sums.x);
  store(m, n + WG, sums.y);
  store(m, n + 2u * WG, sums.z);
  store(m, n + 3u * WG, sums.w);
}

// Four terms of four columns; the columns of wT are what meets the same k.
fn add4(sums: vec4f, v: vec4f, wT: mat4x4f) -> vec4f {
  return fma(vec4f(v.w), wT[3], fma(vec4f(v.z), wT[2], fma(vec4f(v.y), wT[1], fma(vec4f(v.x), wT[0], sums))));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let m = group.y * ROWS;
  let n = group.x * WG * 4u + lane;
  if (n >= params.columns) { return; }
  let quads = params.width / 4u;
  let steps = select(quads / 2u, quads, FORMAT == 0u);  // loads of 16 bytes in a row of w
  let last_row = params.rows - 1u;
  let last_column = params.columns - 1u;
  let a0 = m * quads;
  let a1 = min(m + 1u, last_row) * quads;
  let a2 = min(m + 2u, last_row) * quads;
  let a3 = min(m + 3u, last_row) * quads;
  let b0 = n * steps;
  let b1 = min(n + WG, last_column) * steps;
  let b2 = min(n + 2u * WG, last_column) * steps;
  let b3 = min(n + 3u * WG, last_column) * steps;
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  for (var i = 0u; i < steps; i++) {
    let w0 = w[b0 + i];
    let w1 = w[b1 + i];
    let w2 = w[b2 + i];
    let w3 = w[b3 + i];
    if (FORMAT == 0u) {
      let wT = transpose(mat4x4f(bitcast<vec4f>(w0), bitcast<vec4f>(w1), bitcast<vec4f>(w2), bitcast<vec4f>(w3)));
      s0 = add4(s0, x[a0 + i], wT);
      if (ROWS > 1u) { s1 = add4(s1, x[a1 + i], wT); }
      if (ROWS > 2u) {
        s2 = add4(s2, x[a2 + i], wT);
        s3 = add4(s3, x[a3 + i], wT);
      }
    } else {
      let q = 2u * i;
      let wT = transpose(mat4x4f(unpack4(w0.xy), unpack4(w1.xy), unpack4(w2.xy), unpack4(w3.xy)));
      let vT = transpose(mat4x4f(unpack4(w0.zw), unpack4(w1.zw), unpack4(w2.zw), unpack4(w3.zw)));
      s0 = add4(add4(s0, x[a0 + q], wT), x[a0 + q + 1u], vT);
      if (ROWS > 1u) { s1 = add4(add4(s1, x[a1 + q], wT), x[a1 + q + 1u], vT); }
      if (ROWS > 2u) {
        s2 = add4(add4(s2, x[a2 + q], wT), x[a2 + q + 1u], vT);
        s3 = add4(add4(s3, x[a3 + q], wT), x[a3 + q + 1u], vT);
      }
    }
  }
  store_row(m, n, s0);
  if (ROWS > 1u) { store_row(m + 1u, n, s1); }
  if (ROWS > 2u) {
    store_row(m + 2u, n, s2);
    store_row(m + 3u, n, s3);
  }
}
