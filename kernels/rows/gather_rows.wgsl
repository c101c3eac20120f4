// gather_rows: picks rows.
//   y[m,d] = x[rows[m], d]
// Shapes    x f32 [N,D]; rows i32 [M], -1 = nothing -> 0; out y f32 [M,D]; width: values of a row, VEC4 vec4s
// Dispatch  one workgroup per `share` rows: (ceil(M/share),1,1), folded to 2-D past 65535
// Twin      src/ops/rows/gather_rows.ts#gatherRowsF64     Gradient: gather_rows.wgsl with the inverse rows
import package::lib::grid::{Place, WG, workgroup_number};
import package::lib::values::Value;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> rows: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<Value>;

struct Params { picked: u32, width: u32, share: u32 }
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let begin = workgroup_number(place) * params.share;
  for (var m = begin; m < min(begin + params.share, params.picked); m++) {
    let row = rows[m];
    let to = m * params.width;
    if (row < 0) {
      for (var d = place.lane; d < params.width; d += WG) { y[to + d] = Value(); }
    } else {
      let from_row = u32(row) * params.width;
      for (var d = place.lane; d < params.width; d += WG) { y[to + d] = x[from_row + d]; }
    }
  }
}
