// add: elementwise sum with a scale on the second term: the residual connection, and adapters.
//   y = a + s b      ONLY_B: y = s b (the gradient of b)
// Shapes    a, b f32 [N]; out y f32 [N]  (any shape, flattened); count: values, VEC4 vec4s
// Dispatch  one workgroup per SPAN: (ceil(count/SPAN),1,1), folded to 2-D past 65535
// Numerics  one fma; with s = 1 that is the f32 sum
// Twin      src/ops/elementwise/add.ts#addF64     Gradient: dy for a, s dy for b
import package::lib::grid::{Place, WG};
import package::lib::span::{span_begin, span_end};
import package::lib::values::Value;

@if(!ONLY_B) @group(0) @binding(0) var<storage, read> a: array<Value>;
@group(0) @binding(1) var<storage, read> b: array<Value>;
@group(0) @binding(2) var<storage, read_write> y: array<Value>;

struct Params { count: u32, s: f32 }
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  for (var i = span_begin(place); i < span_end(place, params.count); i += WG) {
    @if(ONLY_B) y[i] = params.s * b[i];
    @else y[i] = fma(Value(params.s), b[i], a[i]);
  }
}
