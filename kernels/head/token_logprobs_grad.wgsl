// token_logprobs_grad: gradient of token_logprobs with respect to the logits, in the place of the logits.
//   dlogits[r,v] = scale * dlogprobs[r] * ([v = y] - exp(z[r,v] - logsum[r])),   z = logits * scale
//   ENTROPY: and scale * dentropy[r] * -p (ln(p) + entropy[r]),   p = exp(z[r,v] - logsum[r])
//   SOFTCAP: z = y * scale, y = softcap tanh(logits * factor / softcap), and dlogits times factor (1 - (y / softcap)^2)
// Shapes    in logits and out dlogits f32 [R,S], columns 0..V, with VEC4 S a multiple of 4 (columns past V are left
//           undefined then); tokens i32 [R], -1 = padding -> dlogits 0; logsum, dlogprobs, entropy, dentropy f32 [R].
//           Without ENTROPY the entropy is for logging only: it has no gradient
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
@if(ENTROPY) @group(0) @binding(5) var<storage, read> entropy: array<f32>;
@if(ENTROPY) @group(0) @binding(6) var<storage, read> dentropy: array<f32>;

// 1 where column v is the token's.
@if(VEC4)
fn chosen(v: u32, token: i32) -> Value {
  return select(vec4f(0.0), vec4f(1.0), vec4i(4 * i32(v)) + vec4i(0, 1, 2, 3) == vec4i(token));
}
@else
fn chosen(v: u32, token: i32) -> Value { return select(0.0, 1.0, i32(v) == token); }

// What the row's entropy adds to the pull of a column, before scales and slopes.
@if(ENTROPY)
fn entropy_pull(row: u32, logprob: Value) -> Value {
  return -dentropy[row] * params.scale * exp(logprob) * (logprob + entropy[row]);
}

fn is_idle(row: u32, pull: f32) -> bool {
  @if(ENTROPY) return pull == 0.0 && dentropy[row] == 0.0;
  @else return pull == 0.0;
}

@compute @workgroup_size(WG)
fn main(place: Place) {
  let row = workgroup_number(place);
  if (row >= params.rows) { return; }
  let width = (params.columns + VALUE_SIZE - 1u) / VALUE_SIZE;
  let base = row * (params.stride / VALUE_SIZE);
  let token = tokens[row];
  let pull = params.scale * dlogprobs[row];
  if (token < 0 || is_idle(row, pull)) {
    for (var v = place.lane; v < width; v += WG) { logits[base + v] = Value(); }
    return;
  }
  let total = logsum[row];
  for (var v = place.lane; v < width; v += WG) {
    @if(SOFTCAP) {
      let y = capped_value(logits[base + v] * params.factor, params.softcap);
      let slope = slope_value(y, params.softcap);
      let pulled = pull * params.factor * slope;
      var gradient = pulled * (chosen(v, token) - exp(y * params.scale - total));
      @if(ENTROPY) gradient += params.factor * slope * entropy_pull(row, y * params.scale - total);
      logits[base + v] = gradient;
    }
    @else {
      let logprob = logits[base + v] * params.scale - total;
      var gradient = pull * (chosen(v, token) - exp(logprob));
      @if(ENTROPY) gradient += entropy_pull(row, logprob);
      logits[base + v] = gradient;
    }
  }
}
