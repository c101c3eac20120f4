// linear_tile: linear for GPUs with fast workgroup memory. The same product, the same bits.
//   y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + residual[m,n]
// Shapes    as linear.wgsl: x f32 [M,K]; w [N,K] in FORMAT; bias [N] in BIAS; residual and out y f32 [M,S], S >= N
//           (columns N..S are left as they are); K a multiple of 4 (of 8 when w is packed)
// Dispatch  a workgroup makes TILE_M rows x TILE_N columns: (ceil(N / TILE_N), ceil(M / TILE_M), 1)
// Numerics  f32, k strictly in order by fma
// Why       A value of x is loaded once per TILE_N columns and one of w once per TILE_M rows: slabs of TILE_K of both lie
//           in workgroup memory, k by k, so that a lane reads four rows or four columns at once. Every line has one
//           vec4 to spare, which spreads the lines over the banks
// Twin      src/ops/linear/linear.ts#linearF64
override TILE_M: u32 = 64u;  // a multiple of LANE_M
override TILE_N: u32 = 64u;  // a multiple of LANE_N
override TILE_K: u32 = 16u;  // a multiple of 4
override LANE_M: u32 = 8u;   // rows a lane makes: 4 or 8
override LANE_N: u32 = 4u;   // columns a lane makes: 4 or 8
override FORMAT: u32 = 0u;   // of w: 0 f32, 1 bf16 pairs, 2 f16 pairs
override BIAS: u32 = 0u;     // 0 none, else 1 + its format
override RESIDUAL: u32 = 0u;  // 1: add it

override WG_X = TILE_N / LANE_N;
override WG_Y = TILE_M / LANE_M;
override X_LINE = TILE_M / 4u + 1u;
override W_LINE = TILE_N / 4u + 1u;
override X_SIZE = TILE_K * X_LINE;
override W_SIZE = TILE_K * W_LINE;
override ROW_QUADS = LANE_M / 4u;
override COLUMN_QUADS = LANE_N / 4u;

struct Params { rows: u32, width: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4u>;
@group(0) @binding(2) var<storage, read> bias: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

var<workgroup> xSlab: array<vec4f, X_SIZE>;  // [TILE_K][rows]
var<workgroup> wSlab: array<vec4f, W_SIZE>;  // [TILE_K][columns]

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

// Stages 4 rows x 4 k of x, turned so that a line holds rows. Rows and k beyond the last repeat it, and are not used.
fn stageX(block: u32, m: u32, quad: u32) {
  let quads = params.width / 4u;
  let last = params.rows - 1u;
  let row = block / (TILE_K / 4u);
  let depth = block % (TILE_K / 4u);
  let q = min(quad + depth, quads - 1u);
  let r = m + row * 4u;
  let turned = transpose(mat4x4f(
    x[min(r, last) * quads + q],
    x[min(r + 1u, last) * quads + q],
    x[min(r + 2u, last) * quads + q],
    x[min(r + 3u, last) * quads + q],
  ));
  for (var j = 0u; j < 4u; j++) { xSlab[(depth * 4u + j) * X_LINE + row] = turned[j]; }
}

fn stageW(block: u32, n: u32, quad: u32) {
  let quads = params.width / 4u;
  let last = params.columns - 1u;
  let column = block / (TILE_K / 4u);
  let depth = block % (TILE_K / 4u);
  let q = min(quad + depth, quads - 1u);
  let c = n + column * 4u;
  let turned = transpose(mat4x4f(
    weight4(min(c, last) * quads + q),
    weight4(min(c + 1u, last) * quads + q),
    weight4(min(c + 2u, last) * quads + q),
    weight4(min(c + 3u, last) * quads + q),
  ));
  for (var j = 0u; j < 4u; j++) { wSlab[(depth * 4u + j) * W_LINE + column] = turned[j]; }
}

// One k of the slab onto the lane's sums.
fn addProducts(k: u32, local: vec2u, sums: ptr<function, array<vec4f, 16>>) {
  for (var i = 0u; i < ROW_QUADS; i++) {
    let xk = xSlab[k * X_LINE + local.y + WG_Y * i];
    for (var j = 0u; j < COLUMN_QUADS; j++) {
      let wk = wSlab[k * W_LINE + local.x + WG_X * j];
      for (var r = 0u; r < 4u; r++) {
        (*sums)[i * 8u + r * 2u + j] = fma(vec4f(xk[r]), wk, (*sums)[i * 8u + r * 2u + j]);
      }
    }
  }
}

fn storeQuad(m: u32, n: u32, sums: vec4f) {
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
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let m = group.y * TILE_M;
  let n = group.x * TILE_N;
  let lanes = WG_X * WG_Y;
  let xBlocks = TILE_M * TILE_K / 16u;
  let wBlocks = TILE_N * TILE_K / 16u;
  var sums: array<vec4f, 16>;  // [2 row quads][4 rows][2 column quads]
  for (var first = 0u; first < params.width; first += TILE_K) {
    for (var block = lane; block < xBlocks; block += lanes) { stageX(block, m, first / 4u); }
    for (var block = lane; block < wBlocks; block += lanes) { stageW(block, n, first / 4u); }
    workgroupBarrier();
    // A whole slab has a length that the compiler knows. A zero added in the last one would turn -0 into 0.
    if (first + TILE_K <= params.width) {
      for (var k = 0u; k < TILE_K; k++) { addProducts(k, local.xy, &sums); }
    } else {
      for (var k = 0u; k < params.width - first; k++) { addProducts(k, local.xy, &sums); }
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < ROW_QUADS; i++) {
    for (var j = 0u; j < COLUMN_QUADS; j++) {
      for (var r = 0u; r < 4u; r++) {
        storeQuad(m + (local.y + WG_Y * i) * 4u + r, n + (local.x + WG_X * j) * 4u, sums[i * 8u + r * 2u + j]);
      }
    }
  }
}
