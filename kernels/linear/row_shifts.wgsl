// row_shifts: powers of two that bring rows of a matrix into the range of f16.
//   shift[m] = 14 - max_k floor(log2(|a[m,k]| 2^-column[k])), kept within -126 .. 126, so that the row's largest
//   |a[m,k]| 2^(shift[m] - column[k]) lies in [2^14, 2^15): below f16's largest number, and with 29 binary orders below
//   it in which f16 keeps all of its bits. Without COLUMNS, column[k] = 0
// Shapes    a [M,S] in FORMAT, of which columns 0..K count; column i32 [K], within -126 .. 126; out shift i32 [M]
//           S a multiple of 4 (of 8 when a is packed)
// Dispatch  one workgroup a row, rows folded over x and y: (M, 1, 1) or foldGrid(M)
// Numerics  exact: exponents are read from the bits, and a maximum has no order. What is below f32's normal numbers
//           counts as zero; a row of zeros has the shift 126
// Twin      src/ops/linear/matrix_units.ts#rowShiftsF64
override WG: u32 = 64u;      // a power of two
override FORMAT: u32 = 0u;   // of a: 0 f32, 1 bf16 pairs, 2 f16 pairs
override COLUMNS: u32 = 0u;  // 1: with shifts of the columns

const NONE = -1000;

struct Params { rows: u32, width: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> a: array<vec4u>;
@group(0) @binding(1) var<storage, read> column: array<i32>;
@group(0) @binding(2) var<storage, read_write> shift: array<i32>;
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> largest: array<i32, WG>;

fn unpack4(words: vec2u) -> vec4f {
  if (FORMAT == 1u) {
    return bitcast<vec4f>(vec4u(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
  }
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

// Values 4i .. 4i+3.
fn value4(i: u32) -> vec4f {
  if (FORMAT == 0u) { return bitcast<vec4f>(a[i]); }
  let quad = a[i / 2u];
  return unpack4(select(quad.xy, quad.zw, (i & 1u) == 1u));
}

fn columns4(k: u32) -> vec4i {
  if (COLUMNS == 0u) { return vec4i(); }
  let last = params.width - 1u;
  return vec4i(column[min(k, last)], column[min(k + 1u, last)], column[min(k + 2u, last)], column[min(k + 3u, last)]);
}

fn largestOrder(m: u32, q: u32) -> i32 {
  let field = (bitcast<vec4u>(value4(m * (params.stride / 4u) + q)) >> vec4u(23u)) & vec4u(255u);
  let k = vec4u(q * 4u) + vec4u(0u, 1u, 2u, 3u);
  let counts = (field != vec4u(0u)) & (k < vec4u(params.width));
  let order = select(vec4i(NONE), vec4i(field) - 127 - columns4(q * 4u), counts);
  return max(max(order.x, order.y), max(order.z, order.w));
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let m = group.y * groups.x + group.x;
  if (m >= params.rows) { return; }
  var most = i32(NONE);
  for (var q = lane; q < (params.width + 3u) / 4u; q += WG) { most = max(most, largestOrder(m, q)); }
  largest[lane] = most;
  for (var step = WG / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) { largest[lane] = max(largest[lane], largest[lane + step]); }
  }
  if (lane == 0u) { shift[m] = clamp(14 - largest[0], -126, 126); }
}
