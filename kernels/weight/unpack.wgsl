// unpack: 16-bit values, two to a word, as f32.
//   values[2i] = the low half of words[i], values[2i+1] the high one
// Shapes    words u32 [N]; out values f32 [2N]; count: words, VEC4 pairs of them.  FORMAT 1 bf16, 2 f16
// Dispatch  one workgroup per SPAN: (ceil(count/SPAN),1,1), folded to 2-D past 65535
// Numerics  exact
// Twin      src/ops/weight/pack.ts#unpackWords
import package::lib::grid::{Place, WG};
import package::lib::span::{span_begin, span_end};
import package::lib::weight::{unpack2, unpack4};

@if(VEC4) @group(0) @binding(0) var<storage, read> words: array<vec2u>;
@else @group(0) @binding(0) var<storage, read> words: array<u32>;
@if(VEC4) @group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@else @group(0) @binding(1) var<storage, read_write> values: array<vec2f>;

struct Params { count: u32 }
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  for (var i = span_begin(place); i < span_end(place, params.count); i += WG) {
    @if(VEC4) values[i] = unpack4(words[i]);
    @else values[i] = unpack2(words[i]);
  }
}
