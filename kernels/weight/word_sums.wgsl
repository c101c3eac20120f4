// word_sums: sums of mixed words, by which two copies of a tensor are told apart.
//   sums[i] = sum of mix(word[j], j) over the i-th SPAN words, modulo 2^32;  mix: MurmurHash3's last steps of
//   word[j] xor (j + 1) * 0x9e3779b1
// Shapes    words u32, `count` of them, which begin at word `first` of the tensor: its `parts` parts from there on.
//           out sums u32, for each part of the whole tensor
// Dispatch  `parts` = ceil(count / SPAN) workgroups, folded over x and y
// Numerics  whole numbers: the same in any order
// Twin      src/ops/weight/word_sums.ts#wordSumsU32
import package::lib::grid::{Place, WG, workgroup_number};
import package::lib::span::{SPAN, span_begin, span_end};

struct Params { count: u32, parts: u32, first: u32 }
@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> of_lane: array<u32, WG>;

fn mix(word: u32, number: u32) -> u32 {
  var bits = word ^ ((number + 1u) * 0x9e3779b1u);
  bits = (bits ^ (bits >> 16u)) * 0x85ebca6bu;
  bits = (bits ^ (bits >> 13u)) * 0xc2b2ae35u;
  return bits ^ (bits >> 16u);
}

@compute @workgroup_size(WG)
fn main(place: Place) {
  let part = workgroup_number(place);
  var sum = 0u;
  for (var i = span_begin(place); i < span_end(place, params.count); i += WG) {
    sum += mix(words[i], params.first + i);
  }
  of_lane[place.lane] = sum;
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (place.lane < half) { of_lane[place.lane] += of_lane[place.lane + half]; }
  }
  if (place.lane == 0u && part < params.parts) { sums[params.first / SPAN + part] = of_lane[0]; }
}
