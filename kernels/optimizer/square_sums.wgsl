// square_sums: partial sums of squares, for a global norm.
//   sums[slot + p] = sum of x[i]^2 over the p-th span
// Shapes    x f32 [N]; out sums f32 [S], this call writes slots slot .. slot + ceil(count/SPAN) - 1; count: values,
//           VEC4 vec4s
// Dispatch  one workgroup per SPAN: (ceil(count/SPAN),1,1), folded to 2-D past 65535
// Numerics  f32; WG strided partial sums of values or vec4s, then a tree in fixed order
// Twin      src/ops/optimizer/grad_norm.ts#gradNormF64
import package::lib::grid::{Place, WG, workgroup_number};
import package::lib::reduce::workgroup_sum;
import package::lib::span::{SPAN, span_begin, span_end};
import package::lib::values::{Value, sum_of};

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;

struct Params { count: u32, slot: u32 }
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  var squares = Value();
  for (var i = span_begin(place); i < span_end(place, params.count); i += WG) {
    let value = x[i];
    squares = fma(value, value, squares);
  }
  let sum = workgroup_sum(place.lane, sum_of(squares));
  let p = workgroup_number(place);
  if (place.lane == 0u && p * SPAN < params.count) { sums[params.slot + p] = sum; }
}
