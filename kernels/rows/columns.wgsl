// columns: copies columns of one matrix into columns of another.
//   y[n, y_first + c] = x[n, x_first + c],   c < width
// Shapes    x f32 [N,x_width]; out y f32 [N,y_width] (other columns are left as they are); with VEC4 all in vec4s
// Dispatch  one lane per value or vec4 of N * width = count: (ceil(count/WG),1,1), folded to 2-D past 65535
// Twin      src/ops/rows/columns.ts#splitColumnsF64     Gradient: this kernel the other way round
import package::lib::grid::{Place, WG, lane_number};
import package::lib::values::Value;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read_write> y: array<Value>;

struct Params {
  count: u32,
  width: u32,
  x_width: u32,
  y_width: u32,
  x_first: u32,
  y_first: u32,
}
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let index = lane_number(place);
  if (index >= params.count) { return; }
  let row = index / params.width;
  let c = index - row * params.width;
  y[row * params.y_width + params.y_first + c] = x[row * params.x_width + params.x_first + c];
}
