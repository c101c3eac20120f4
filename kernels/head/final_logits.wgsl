// final_logits: what a model does with the head's product before anything is sampled.
//   y = factor x      SOFTCAP: y = softcap tanh(factor x / softcap)
// Shapes    x f32 [N]; out y f32 [N]  (any shape, flattened); count: values, VEC4 vec4s
// Dispatch  one workgroup per SPAN: (ceil(count/SPAN),1,1), folded to 2-D past 65535
// Numerics  f32, element by element
// Twin      src/ops/head/final_logits.ts#finalLogitsF64     Gradient: none; training has token_logprobs.wgsl
import package::lib::grid::{Place, WG};
import package::lib::softcap_values::capped_value;
import package::lib::span::{span_begin, span_end};
import package::lib::values::Value;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read_write> y: array<Value>;

struct Params { count: u32, factor: f32, @if(SOFTCAP) softcap: f32 }
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  for (var i = span_begin(place); i < span_end(place, params.count); i += WG) {
    @if(SOFTCAP) y[i] = capped_value(x[i] * params.factor, params.softcap);
    @else y[i] = x[i] * params.factor;
  }
}
