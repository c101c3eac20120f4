// token_logprobs_grad: gradient of token_logprobs with respect to the logits, in the place of the logits.
//   dlogits[r,v] = scale * dlogprobs[r] * ([v = y] - exp(z[r,v] - logsum[r])),   z = logits * scale
//   SOFTCAP: z = y * scale, y = softcap tanh(logits * factor / softcap), and dlogits times factor (1 - (y / softcap)^2)
// Shapes    in logits and out dlogits f32 [R,S], columns 0..V, with VEC4 S a multiple of 4 (columns past V are left
//           undefined then); tokens i32 [R], -1 = padding -> dlogits 0; logsum, dlogprobs f32 [R]. The entropy is for
//           logging only: it has no gradient
// Dispatch  one workgroup per row: (R,1,1), folded to 2-D past 65535
// Numerics  f32, element by element
// Twin      src/ops/head/token_logprobs.ts#tokenLogprobsGradF64
import package::lib::grid::{Place, WG, workgroup_number};
import package::lib::softcap_values::{capped_value, slope_value};
import package::lib::values::{VALUE_SIZE, Value};

@group(0) @binding(0) var<storage, read_write> logits: array<Value>;
@group(0) @binding(1) var<storage, read> tokens: array<i32>;
@group(0) @binding(2) var<storage, read> logsum: array<f32>;
@group(0) @binding(3) var<storage, read> dlogprobs: array<f32>;

struct Params {
  rows: u32,
  columns: u32,
  stride: u32,
  scale: f32,  // 1 / temperature, and without SOFTCAP 1 / divisor
  @if(SOFTCAP) factor: f32,  // 1 / divisor
  @if(SOFTCAP) softcap: f32,
}
@group(0) @binding(4) var<uniform> params: Params;

// 1 where column v is the token's.
@if(VEC4)
fn chosen(v: u32, token: i32) -> Value {
  return select(vec4f(0.0), vec4f(1.0), vec4i(4 * i32(v)) + vec4i(0, 1, 2, 3) == vec4i(token));
}
@else
fn chosen(v: u32, token: i32) -> Value { return select(0.0, 1.0, i32(v) == token); }

@compute @workgroup_size(WG)
fn main(place: Place) {
  let row = workgroup_number(place);
  if (row >= params.rows) { return; }
  let width = (params.columns + VALUE_SIZE - 1u) / VALUE_SIZE;
  let base = row * (params.stride / VALUE_SIZE);
  let token = tokens[row];
  let pull = params.scale * dlogprobs[row];
  if (token < 0 || pull == 0.0) {
    for (var v = place.lane; v < width; v += WG) { logits[base + v] = Value(); }
    return;
  }
  let total = logsum[row];
  for (var v = place.lane; v < width; v += WG) {
    @if(SOFTCAP) {
      let y = capped_value(logits[base + v] * params.factor, params.softcap);
      let pulled = pull * params.factor * slope_value(y, params.softcap);
      logits[base + v] = pulled * (chosen(v, token) - exp(y * params.scale - total));
    }
    @else { logits[base + v] = pull * (chosen(v, token) - exp(logits[base + v] * params.scale - total)); }
  }
}
