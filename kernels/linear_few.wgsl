// linear_few: y = x w^T + bias + residual for few rows, as in decoding, where reading w is the cost.
//   y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + residual[m,n]
// Shapes    x f32 [M,K]; w [N,K] in FORMAT; bias [N] in BIAS; residual and out y f32 [M,S], S >= N (columns N..S
//           are left as they are); K a multiple of 4 (of 8 when w is packed). Other sizes: matmul_strided.wgsl
// Dispatch  4 rows x 1 column a thread: (ceil(N / WG), ceil(M / 4), 1)
// Numerics  f32, k strictly in order by fma: the same bits as matmul_nt.wgsl
// Twin      src/ops/linear.ts#linearF64     Gradient: matmul_nn.wgsl (x), matmul_tn_acc.wgsl (w)
override WG: u32 = 32u;
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

// Values 4i .. 4i+3 of the weight.
fn weight4(i: u32) -> vec4f {
  if (FORMAT == 0u) { return bitcast<vec4f>(w[i]); }
  let quad = w[i / 2u];
  return unpack4(select(quad.xy, quad.zw, (i & 1u) == 1u));
}

fn biasAt(n: u32) -> f32 {
  if (BIAS == 1u) { return bitcast<f32>(bias[n]); }
  let word = bias[n / 2u];
  let high = (n & 1u) == 1u;
  if (BIAS == 2u) { return bitcast<f32>(select(word << 16u, word & 0xffff0000u, high)); }
  let pair = unpack2x16float(word);
  return select(pair.x, pair.y, high);
}

fn store(m: u32, n: u32, sum: f32) {
  if (m >= params.rows) { return; }
  var value = sum;
  if (BIAS != 0u) { value += biasAt(n); }
  let at = m * params.stride + n;
  if (RESIDUAL != 0u) { value += residual[at]; }
  y[at] = value;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let m = group.y * 4u;
  let n = group.x * WG + lane;
  if (n >= params.columns) { return; }
  let quads = params.width / 4u;
  let last = params.rows - 1u;
  let a0 = m * quads;
  let a1 = min(m + 1u, last) * quads;
  let a2 = min(m + 2u, last) * quads;
  let a3 = min(m + 3u, last) * quads;
  var s = vec4f();
  for (var q = 0u; q < quads; q++) {
    let wn = weight4(n * quads + q);
    let xT = transpose(mat4x4f(x[a0 + q], x[a1 + q], x[a2 + q], x[a3 + q]));
    s = fma(xT[3], vec4f(wn.w), fma(xT[2], vec4f(wn.z), fma(xT[1], vec4f(wn.y), fma(xT[0], vec4f(wn.x), s))));
  }
  store(m, n, s.x);
  store(m + 1u, n, s.y);
  store(m + 2u, n, s.z);
  store(m + 3u, n, s.w);
}
