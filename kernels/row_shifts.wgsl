// row_shifts: powers of two that bring rows of a matrix into the range of f16.
//   shift[m] = 14 - floor(log2(max_k |a[m,k]|)), kept within -126 .. 126, so that the largest |a[m,k]| 2^shift[m] lies in
//   [2^14, 2^15): below f16's largest number, and with 29 binary orders below it in which f16 keeps all of its bits
// Shapes    a [M,K] in FORMAT; out shift i32 [M]; K a multiple of 4 (of 8 when a is packed)
// Dispatch  one workgroup a row, rows folded over x and y: (M, 1, 1) or foldGrid(M)
// Numerics  exact: a maximum has no order, and the exponent is read from its bits. A row of zeros has the shift 126
// Twin      src/ops/matmul_matrix.ts#rowShiftsF64
override WG: u32 = 64u;     // a power of two
override FORMAT: u32 = 0u;  // of a: 0 f32, 1 bf16 pairs, 2 f16 pairs

struct Params { rows: u32, width: u32 }
@group(0) @binding(0) var<storage, read> a: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> shift: array<i32>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> largest: array<f32, WG>;

fn largestOf(v: vec4f) -> f32 {
  let size = abs(v);
  return max(max(size.x, size.y), max(size.z, size.w));
}

// The largest of a word's two values.
fn largestOfPairs(words: vec4u) -> f32 {
  if (FORMAT == 1u) {
    return max(largestOf(bitcast<vec4f>(words << vec4u(16u))), largestOf(bitcast<vec4f>(words & vec4u(0xffff0000u))));
  }
  let low = vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
  return max(largestOf(low), largestOf(vec4f(unpack2x16float(words.z), unpack2x16float(words.w))));
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let m = group.y * groups.x + group.x;
  if (m >= params.rows) { return; }
  let quads = select(params.width / 8u, params.width / 4u, FORMAT == 0u);
  var most = 0f;
  for (var q = lane; q < quads; q += WG) {
    let words = a[m * quads + q];
    if (FORMAT == 0u) { most = max(most, largestOf(bitcast<vec4f>(words))); } else { most = max(most, largestOfPairs(words)); }
  }
  largest[lane] = most;
  for (var step = WG / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) { largest[lane] = max(largest[lane], largest[lane + step]); }
  }
  if (lane == 0u) {
    let exponent = i32(bitcast<u32>(largest[0]) >> 23u) - 127;
    shift[m] = clamp(14 - exponent, -126, 126);
  }
}
