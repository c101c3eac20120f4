// add_noise: adds noise of one or several seeds to a weight, in place; the noise is made here, from counters.
//   w[e] = clamp(snap(w[e]) + snap(sum_n coefficient_n eps(seed_n, stream, e)), -limit, limit)
//   snap rounds to whole multiples of grid, a power of two; grid 0: nothing is rounded. On a grid where all sums
//   stay below 2^24 of its steps they are exact, so that the negative coefficient restores w to the bit.
// Shapes    weight f32 [N], in and out; terms u32 [T,2]: seed, and the bits of an f32 coefficient, summed in their
//           order; count, first: values, VEC4 vec4s; first: before weight's among those of its
//           tensor, a multiple of 4 values
// Dispatch  one workgroup per SPAN: (ceil(count/SPAN),1,1), folded to 2-D past 65535
// Twin      src/ops/noise/add_noise.ts#addNoiseF64
import package::lib::grid::{Place, WG};
import package::lib::normal::normals;
import package::lib::span::{span_begin, span_end};
import package::lib::values::Value;

@group(0) @binding(0) var<storage, read_write> weight: array<Value>;
@group(0) @binding(1) var<storage, read> terms: array<vec2u>;

struct Params {
  count: u32,
  first: u32,
  terms: u32,
  stream: u32,
  grid: f32,
  per_grid: f32,
  limit: f32,
}
@group(0) @binding(2) var<uniform> params: Params;

fn snap(value: Value) -> Value {
  if (params.grid == 0.0) { return value; }
  return round(value * params.per_grid) * params.grid;
}

@if(VEC4) fn noise_at(seed: u32, i: u32) -> Value { return normals(seed, params.stream, i); }
@else fn noise_at(seed: u32, i: u32) -> Value { return normals(seed, params.stream, i >> 2u)[i & 3u]; }

@compute @workgroup_size(WG)
fn main(place: Place) {
  let end = span_end(place, params.count);
  for (var i = span_begin(place); i < end; i += WG) {
    var sum = Value();
    for (var n = 0u; n < params.terms; n++) {
      let term = terms[n];
      sum = fma(Value(bitcast<f32>(term.y)), noise_at(term.x, params.first + i), sum);
    }
    weight[i] = clamp(snap(weight[i]) + snap(sum), Value(-params.limit), Value(params.limit));
  }
}
