// nonfinite: how many values of a weight are infinite or no numbers, and which is the first.
//   found[2i] = how many of the i-th SPAN words' values have all bits of their exponent set
//   found[2i + 1] = place of the first of them in the whole weight, 0xffffffff where there is none
// Shapes    words in FORMAT, `count` of them, which begin at word `first` of the weight: its `parts` parts from there
//           on. out found u32, two for each part of the whole weight
// Dispatch  `parts` = ceil(count / SPAN) workgroups, folded over x and y
// Numerics  by bits: a compiler may assume that f32 arithmetic makes no NaN and no infinity
// Twin      src/ops/weight/nonfinite.ts#nonfiniteF64
import package::lib::grid::{Place, WG, workgroup_number};
import package::lib::span::{SPAN, span_begin, span_end};
import package::lib::weight::FORMAT;

struct Params { count: u32, parts: u32, first: u32 }
@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(1) var<storage, read_write> found: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

const NONE = 0xffffffffu;

var<workgroup> counts: array<u32, WG>;
var<workgroup> firsts: array<u32, WG>;

fn has_all(word: u32, exponent: u32) -> u32 {
  return select(0u, 1u, (word & exponent) == exponent);
}

@compute @workgroup_size(WG)
fn main(place: Place) {
  let part = workgroup_number(place);
  let exponent = select(select(0x7c00u, 0x7f80u, FORMAT == 1u), 0x7f800000u, FORMAT == 0u);
  var count = 0u;
  var first = NONE;
  for (var i = span_begin(place); i < span_end(place, params.count); i += WG) {
    let low = has_all(words[i], exponent);
    let high = select(has_all(words[i] >> 16u, exponent), 0u, FORMAT == 0u);
    if (low + high > 0u) {
      count += low + high;
      let word = params.first + i;
      first = min(first, select(2u * word + (1u - low), word, FORMAT == 0u));
    }
  }
  counts[place.lane] = count;
  firsts[place.lane] = first;
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (place.lane < half) {
      counts[place.lane] += counts[place.lane + half];
      firsts[place.lane] = min(firsts[place.lane], firsts[place.lane + half]);
    }
  }
  if (place.lane == 0u && part < params.parts) {
    let slot = 2u * (params.first / SPAN + part);
    found[slot] = counts[0];
    found[slot + 1u] = firsts[0];
  }
}
