// weight_largest: the largest magnitude of each of many parts of a weight; weight_shift.wgsl takes it from there.
//   largest[i] = max |w| over the i-th SPAN vec4s of words, as the bits of an f32
// Shapes    w in FORMAT, `count` vec4s of words: the `parts` parts of the weight from `first` on. out largest u32,
//           for each part of the whole weight
// Dispatch  `parts` = ceil(count / SPAN) workgroups, folded over x and y
// Numerics  exact: a maximum has no order
// Twin      src/ops/weight/weight_shift.ts#shiftF64
import package::lib::grid::{Place, WG, workgroup_number};
import package::lib::span::{span_begin, span_end};
import package::lib::weight::{FORMAT, unpack4};

struct Params { count: u32, parts: u32, first: u32 }
@group(0) @binding(0) var<storage, read> w: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> largest: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> of_lane: array<u32, WG>;

fn magnitudes(words: vec4u) -> vec4u {
  let counted = vec4u(0x7fffffffu);
  if (FORMAT == 0u) { return words & counted; }
  return max(bitcast<vec4u>(unpack4(words.xy)) & counted, bitcast<vec4u>(unpack4(words.zw)) & counted);
}

@compute @workgroup_size(WG)
fn main(place: Place) {
  let part = workgroup_number(place);
  var most = vec4u();
  for (var i = span_begin(place); i < span_end(place, params.count); i += WG) { most = max(most, magnitudes(w[i])); }
  of_lane[place.lane] = max(max(most.x, most.y), max(most.z, most.w));
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (place.lane < half) { of_lane[place.lane] = max(of_lane[place.lane], of_lane[place.lane + half]); }
  }
  if (place.lane == 0u && part < params.parts) { largest[params.first + part] = of_lane[0]; }
}
