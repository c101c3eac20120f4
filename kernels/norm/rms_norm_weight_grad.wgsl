// rms_norm_weight_grad: gradient of rms_norm with respect to its weight, added to what is there.
//   dw[d] += sum_r dy[r,d] * x[r,d] * rstd[r]
// Shapes    x, dy f32 [R,D]; rstd f32 [R]; in and out dw f32 [D]; width: values of a row, VEC4 vec4s
// Dispatch  one lane per value of a row: (ceil(width/WG),1,1), folded to 2-D past 65535
// Numerics  f32, rows strictly in order, so splitting the rows over several calls gives the same bits
// Twin      src/ops/norm/rms_norm.ts#rmsNormGradF64
import package::lib::grid::{Place, WG, lane_number};
import package::lib::values::Value;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> rstd: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<Value>;
@group(0) @binding(3) var<storage, read_write> dw: array<Value>;

struct Params { rows: u32, width: u32 }
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let d = lane_number(place);
  if (d >= params.width) { return; }
  var sum = dw[d];
  for (var r = 0u; r < params.rows; r++) {
    let at = r * params.width + d;
    sum = fma(dy[at], x[at] * rstd[r], sum);
  }
  dw[d] = sum;
}
