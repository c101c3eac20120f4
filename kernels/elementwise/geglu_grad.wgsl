// geglu_grad: gradient of geglu with respect to both inputs.
//   dgate = dy * up * gelu'(gate);  dup = dy * gelu(gate);   gelu as in lib/gelu.wgsl
// Shapes    gate, up, dy f32 [N]; out dgate, dup f32 [N]  (any shape, flattened); count: values, VEC4 vec4s
// Dispatch  one workgroup per SPAN: (ceil(count/SPAN),1,1), folded to 2-D past 65535
// Twin      src/ops/elementwise/geglu.ts#gegluGradF64
import package::lib::gelu::{gelu_share, gelu_slope};
import package::lib::grid::{Place, WG};
import package::lib::span::{span_begin, span_end};
import package::lib::values::Value;

@group(0) @binding(0) var<storage, read> gate: array<Value>;
@group(0) @binding(1) var<storage, read> up: array<Value>;
@group(0) @binding(2) var<storage, read> dy: array<Value>;
@group(0) @binding(3) var<storage, read_write> dgate: array<Value>;
@group(0) @binding(4) var<storage, read_write> dup: array<Value>;

struct Params { count: u32 }
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  for (var i = span_begin(place); i < span_end(place, params.count); i += WG) {
    let g = gate[i];
    let d = dy[i];
    let s = gelu_share(g);
    dgate[i] = d * up[i] * gelu_slope(g, s);
    dup[i] = d * g * s;
  }
}
