// geglu: the gated activation of Gemma's MLP.
//   y = gelu(gate) * up,   gelu as in lib/gelu.wgsl
// Shapes    gate, up f32 [N]; out y f32 [N]  (any shape, flattened); count: values, VEC4 vec4s
// Dispatch  one workgroup per SPAN: (ceil(count/SPAN),1,1), folded to 2-D past 65535
// Twin      src/ops/elementwise/geglu.ts#gegluF64     Gradient: geglu_grad.wgsl
import package::lib::gelu::gelu_share;
import package::lib::grid::{Place, WG};
import package::lib::span::{span_begin, span_end};
import package::lib::values::Value;

@group(0) @binding(0) var<storage, read> gate: array<Value>;
@group(0) @binding(1) var<storage, read> up: array<Value>;
@group(0) @binding(2) var<storage, read_write> y: array<Value>;

struct Params { count: u32 }
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  for (var i = span_begin(place); i < span_end(place, params.count); i += WG) {
    let g = gate[i];
    y[i] = g * gelu_share(g) * up[i];
  }
}
