// pack: f32 values as 16-bit ones, two to a word (the even one in the low half), rounded to nearest even.
//   words[i] = bits16(values[2i]) | bits16(values[2i+1]) << 16
// Shapes    values f32 [2N]; out words u32 [N]; count: words, VEC4 pairs of them.  FORMAT 1 bf16, 2 f16 (beyond 65504:
//           the infinity)
// Dispatch  one workgroup per SPAN: (ceil(count/SPAN),1,1), folded to 2-D past 65535
// Twin      src/ops/weight/pack.ts#packWords
import package::lib::grid::{Place, WG};
import package::lib::pack::pack2;
import package::lib::span::{span_begin, span_end};

@if(VEC4) @group(0) @binding(0) var<storage, read> values: array<vec4u>;
@else @group(0) @binding(0) var<storage, read> values: array<vec2u>;
@if(VEC4) @group(0) @binding(1) var<storage, read_write> words: array<vec2u>;
@else @group(0) @binding(1) var<storage, read_write> words: array<u32>;

struct Params { count: u32 }
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  for (var i = span_begin(place); i < span_end(place, params.count); i += WG) {
    let bits = values[i];
    @if(VEC4) words[i] = vec2u(pack2(bits.xy), pack2(bits.zw));
    @else words[i] = pack2(bits);
  }
}
