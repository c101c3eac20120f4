// linear_matrix: linear on the matrix units of a GPU, of inputs rounded to f16.
//   y[m,n] = (sum_k round(x[m,k] 2^s[m]) round(w[n,k] 2^t[n])) 2^-(s[m] + t[n]) + bias[n] + residual[m,n]
// Shapes    x f32 [M,K]; w [N,K] in FORMAT; bias [N] in BIAS; s i32 [M] and t i32 [N] from row_shifts.wgsl; residual and out
//           y f32 [M,S], S >= N (columns N..S are left as they are); K a multiple of 4 (of 8 when w is packed)
// Dispatch  a workgroup of four subgroups makes 64 rows x 64 columns: (ceil(N / 64), ceil(M / 64), 1)
// Numerics  Inputs keep 11 significant bits, f16's, and no value overflows; only what is 2^-29 of its row's largest
//           keeps fewer. Products are exact and summed in f32 in the order of the hardware. Shifts are exact both ways. A
//           row's bits depend on no other row, but they are not those of the f32 kernels
// Why       Shifts by row, because activations and gradients reach beyond both ends of f16 and differ from row to row
//           by more than f16 spans; powers of two, because they round nothing
// Twin      src/ops/linear/matrix_units.ts#linearF16F64
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

override SUBGROUP: u32 = 32u;  // lanes of every subgroup
override FORMAT: u32 = 0u;     // of w: 0 f32, 1 bf16 pairs, 2 f16 pairs
override BIAS: u32 = 0u;       // 0 none, else 1 + its format
override RESIDUAL: u32 = 0u;   // 1: add it
override LANES = 4u * SUBGROUP;

const TILE = 64u;                   // rows, and columns
const SLAB_QUADS = 8u;              // a slab is 32 k deep
const LINE = SLAB_QUADS + 2u;       // matrices are loaded from multiples of 16 bytes; two to spare spread the banks
const PART = 32u;                   // rows, and columns, that a subgroup makes: two matrices each way

struct Params { rows: u32, width: u32, columns: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4u>;
@group(0) @binding(2) var<storage, read> bias: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read> xShift: array<i32>;
@group(0) @binding(5) var<storage, read> wShift: array<i32>;
@group(0) @binding(6) var<storage, read> residual: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

var<workgroup> xSlab: array<vec4h, TILE * LINE>;  // [rows][k]
var<workgroup> wSlab: array<vec4h, TILE * LINE>;  // [columns][k]
var<workgroup> made: array<f32, 4 * 256>;           // a matrix of each subgroup

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

// 2^e for e from -126 to 127.
fn power(e: i32) -> f32 {
  return bitcast<f32>(u32(e + 127) << 23u);
}

// value 2^e for e from -252 to 252, in two steps: neither leaves f32 when value and result are within it.
fn shifted(value: f32, e: i32) -> f32 {
  return value * power(e / 2) * power(e - e / 2);
}

// Rows beyond the last repeat it, and are not stored. Values beyond the last k are zeros.
fn stageX(block: u32, m: u32, first: u32) {
  let quads = params.width / 4u;
  let q = first + block % SLAB_QUADS;
  let row = min(m + block / SLAB_QUADS, params.rows - 1u);
  let value = select(vec4f(), x[row * quads + min(q, quads - 1u)], q < quads);
  xSlab[block / SLAB_QUADS * LINE + block % SLAB_QUADS] = vec4h(value * power(xShift[row]));
}

fn stageW(block: u32, n: u32, first: u32) {
  let quads = params.width / 4u;
  let q = first + block % SLAB_QUADS;
  let column = min(n + block / SLAB_QUADS, params.columns - 1u);
  let value = select(vec4f(), weight4(column * quads + min(q, quads - 1u)), q < quads);
  wSlab[block / SLAB_QUADS * LINE + block % SLAB_QUADS] = vec4h(value * power(wShift[column]));
}

fn store(m: u32, n: u32, sum: f32) {
  if (m >= params.rows || n >= params.columns) { return; }
  var value = shifted(sum, -(xShift[m] + wShift[n]));
  if (BIAS != 0u) { value += biasAt(n); }
  let at = m * params.stride + n;
  if (RESIDUAL != 0u) { value += residual[at]; }
  y[at] = value;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) member: u32,
) {
  let m = group.y * TILE;
  let n = group.x * TILE;
  let top = subgroup / 2u * PART;  // of the subgroup's part of the tile
  let left = subgroup % 2u * PART;
  var sums: array<subgroup_matrix_result<f32, 16, 16>, 4>;
  for (var first = 0u; first < params.width / 4u; first += SLAB_QUADS) {
    for (var block = lane; block < TILE * SLAB_QUADS; block += LANES) { stageX(block, m, first); }
    for (var block = lane; block < TILE * SLAB_QUADS; block += LANES) { stageW(block, n, first); }
    workgroupBarrier();
    for (var k = 0u; k < SLAB_QUADS; k += 4u) {
      let w0 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&wSlab, left * LINE + k, LINE);
      let w1 = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&wSlab, (left + 16u) * LINE + k, LINE);
      for (var i = 0u; i < 2u; i++) {
        let xi = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&xSlab, (top + i * 16u) * LINE + k, LINE);
        sums[i * 2u] = subgroupMatrixMultiplyAccumulate(xi, w0, sums[i * 2u]);
        sums[i * 2u + 1u] = subgroupMatrixMultiplyAccumulate(xi, w1, sums[i * 2u + 1u]);
      }
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < 2u; i++) {
    for (var j = 0u; j < 2u; j++) {
      subgroupMatrixStore<row_major>(&made, subgroup * 256u, sums[i * 2u + j], 16u);
      workgroupBarrier();
      for (var at = member; at < 256u; at += SUBGROUP) {
        store(m + top + i * 16u + at / 16u, n + left + j * 16u + at % 16u, made[subgroup * 256u + at]);
      }
      workgroupBarrier();
    }
  }
}
