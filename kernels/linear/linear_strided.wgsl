// linear_strided: a matrix product of any shape and layout, for sizes that the tiled matmuls do not take.
//   c[i,j] = sum_l a[i aRow + l aStep] b[j bRow + l bStep] + bias[j] + residual[i,j]     (ADD: c[i,j] += the same sum)
// Shapes    a f32; b in FORMAT; bias [J] in BIAS; residual and out c f32 [I, cRow >= J], of which
//           columns 0..J are written
// Dispatch  one thread per element: ceil(I J / WG) workgroups, folded to 2-D past 65535
// Numerics  f32, l strictly in order by fma (ADD: onto c): the same bits as the tiled matmuls
// Twin      src/ops/linear/linear.ts#linearF64, #linearGradF64
override WG: u32 = 64u;
override FORMAT: u32 = 0u;  // of b: 0 f32, 1 bf16 pairs, 2 f16 pairs
override BIAS: u32 = 0u;    // 0 none, else 1 + its format
override RESIDUAL: u32 = 0u;  // 1: add it
override ADD: u32 = 0u;     // 1: add to c

struct Params { rows: u32, columns: u32, terms: u32, aRow: u32, aStep: u32, bRow: u32, bStep: u32, cRow: u32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read> bias: array<u32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

// One value of a word that holds two.
fn unpack(word: u32, i: u32, format: u32) -> f32 {
  let high = (i & 1u) == 1u;
  if (format == 1u) { return bitcast<f32>(select(word << 16u, word & 0xffff0000u, high)); }
  let pair = unpack2x16float(word);
  return select(pair.x, pair.y, high);
}

fn bAt(i: u32) -> f32 {
  if (FORMAT == 0u) { return bitcast<f32>(b[i]); }
  return unpack(b[i / 2u], i, FORMAT);
}

fn biasAt(j: u32) -> f32 {
  if (BIAS == 1u) { return bitcast<f32>(bias[j]); }
  return unpack(bias[j / 2u], j, BIAS - 1u);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = (group.x + group.y * groups.x) * WG + lane;
  let i = id / params.columns;
  let j = id % params.columns;
  if (i >= params.rows) { return; }
  let at = i * params.cRow + j;
  var sum = 0.0;
  if (ADD == 1u) { sum = c[at]; }
  for (var l = 0u; l < params.terms; l++) {
    sum = fma(a[i * params.aRow + l * params.aStep], bAt(j * params.bRow + l * params.bStep), sum);
  }
  if (BIAS != 0u) { sum += biasAt(j); }
  if (RESIDUAL != 0u) { sum += residual[at]; }
  c[at] = sum;
}
