// mix: moves values towards others by a share of the way, in place.
//   target = keep * target + share * source
// Shapes    target f32 [N], in and out; source [N] in FORMAT, two 16-bit values to a word; count: values
// Dispatch  one workgroup per SPAN: (ceil(count/SPAN),1,1), folded to 2-D past 65535
// Numerics  f32, one rounding of keep * target and one of the fused rest
// Twin      src/ops/weight/mix.ts#mixF64
import package::lib::grid::{Place, WG};
import package::lib::span::{span_begin, span_end};
import package::lib::weight::{FORMAT, value_of};

@group(0) @binding(0) var<storage, read_write> target_values: array<f32>;
@group(0) @binding(1) var<storage, read> source: array<u32>;

struct Params { count: u32, keep: f32, share: f32 }
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  for (var i = span_begin(place); i < span_end(place, params.count); i += WG) {
    let word = source[select(i / 2u, i, FORMAT == 0u)];
    target_values[i] = fma(params.share, value_of(word, i, FORMAT), params.keep * target_values[i]);
  }
}
