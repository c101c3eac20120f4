// halves: a matrix of f32 as f16, each row brought into the range of f16 by a power of two of its own.
//   shift[m]    = 14 - floor(log2(max_k |a[m,k]|)), kept within -126 .. 126: the row's largest lies in [2^14, 2^15)
//   values[m,k] = round(a[m,k] 2^shift[m]), 0 from k = K on
// Shapes    a f32 [M,S], S a multiple of 4, of which columns 0..K count; out values f16 [M,P], two to a word, P a
//           multiple of 32 (what products take at a time), and shift i32 [M]
// Dispatch  one workgroup a row, rows folded over x and y: (M, 1, 1) or foldGrid(M)
// Numerics  powers of two round nothing; f16 keeps 11 significant bits of what is within 2^-29 of its row's largest,
//           and fewer below. What is below f32's normal numbers counts as zero; a row of zeros has the shift 126.
//           Infinities and NaNs stay what they are
// Why       activations and gradients reach beyond both ends of f16, and differ from row to row by more than it spans.
//           Made once for all products that read the matrix, which then stage it as it lies
// Twin      src/ops/linear/halves.ts#halvesF64
import package::lib::f16_range::{power, shift_of};
import package::lib::grid::{Place, WG, workgroup_number};

struct Params { rows: u32, width: u32, stride: u32, pitch: u32 }  // M, K, S, P
@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> values: array<vec2u>;
@group(0) @binding(2) var<storage, read_write> shift: array<i32>;
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> largest: array<u32, WG>;

// Values 4q .. 4q+3 of a row, zeros from K on.
fn quad(row: u32, q: u32) -> vec4f {
  let counts = vec4u(q * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.width);
  return select(vec4f(), a[(row * params.stride) / 4u + min(q, (params.width - 1u) / 4u)], counts);
}

@compute @workgroup_size(WG)
fn main(place: Place) {
  let m = workgroup_number(place);
  let row = min(m, params.rows - 1u);  // a workgroup that is left over goes along to the barriers
  var most = vec4u();
  for (var q = place.lane; q < (params.width + 3u) / 4u; q += WG) {
    most = max(most, bitcast<vec4u>(quad(row, q)) & vec4u(0x7fffffffu));
  }
  largest[place.lane] = max(max(most.x, most.y), max(most.z, most.w));
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (place.lane < half) { largest[place.lane] = max(largest[place.lane], largest[place.lane + half]); }
  }
  workgroupBarrier();
  if (m >= params.rows) { return; }
  let s = shift_of(largest[0]);
  if (place.lane == 0u) { shift[m] = s; }
  for (var q = place.lane; q < params.pitch / 4u; q += WG) {
    let shifted = quad(row, q) * power(s);
    values[m * (params.pitch / 4u) + q] = vec2u(pack2x16float(shifted.xy), pack2x16float(shifted.zw));
  }
}
