// adamw: one AdamW step (arXiv:1711.05101, as torch.optim.AdamW), in place; clears the gradient for the next step.
//   g = grad * clip.scale;  w *= decay;  m = b1 m + rest1 g;  v = b2 v + rest2 g^2
//   w -= step m / (sqrt(v) root + eps)
//   decay = 1 - lr weight_decay, rest = 1 - b, step = lr / (1 - b1^t) and root = 1 / sqrt(1 - b2^t) come rounded from
//   f64: in f32, 1 - 0.999 is 1e-5 off
//   clip.scale = 0 (the norm was not finite): nothing changes but the gradient, which is cleared.
// Shapes    weight, m, v, grad f32 [N], all in and out; clip f32 [2]: norm, scale; count: values, VEC4 vec4s
// Dispatch  one workgroup per SPAN: (ceil(count/SPAN),1,1), folded to 2-D past 65535
// Twin      src/ops/optimizer/adamw.ts#adamwF64
import package::lib::grid::{Place, WG};
import package::lib::span::{span_begin, span_end};
import package::lib::values::Value;

@group(0) @binding(0) var<storage, read_write> weight: array<Value>;
@group(0) @binding(1) var<storage, read_write> m: array<Value>;
@group(0) @binding(2) var<storage, read_write> v: array<Value>;
@group(0) @binding(3) var<storage, read_write> grad: array<Value>;
@group(0) @binding(4) var<storage, read> clip: array<f32>;

struct Params {
  count: u32,
  step: f32,
  root: f32,
  eps: f32,
  decay: f32,
  beta1: f32,
  beta2: f32,
  rest1: f32,
  rest2: f32,
}
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let begin = span_begin(place);
  let end = span_end(place, params.count);
  let scale = clip[1];
  if (scale == 0.0) {
    for (var i = begin; i < end; i += WG) { grad[i] = Value(); }
    return;
  }
  for (var i = begin; i < end; i += WG) {
    let g = grad[i] * scale;
    grad[i] = Value();
    let first = fma(Value(params.beta1), m[i], params.rest1 * g);
    let second = fma(Value(params.beta2), v[i], params.rest2 * g * g);
    m[i] = first;
    v[i] = second;
    let divisor = fma(sqrt(second), Value(params.root), Value(params.eps));
    weight[i] = weight[i] * params.decay - params.step * first / divisor;
  }
}
