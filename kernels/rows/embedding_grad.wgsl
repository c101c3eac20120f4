// embedding_grad: gradient of embedding with respect to its table, added to what is there.
//   dtable[ids[n] - first, d] += dy[n,d]
// Shapes    ids i32 [N]; dy f32 [N,D]; in and out dtable: rows first .. first + rows of f32 [V,D]; width: values of a
//           row, VEC4 vec4s
// Dispatch  one lane per value of a row, which alone writes its column: (ceil(width/WG),1,1), folded to 2-D past 65535
// Numerics  f32, tokens strictly in order, so splitting them over several calls gives the same bits
// Twin      src/ops/rows/embedding.ts#embeddingGradF64
import package::lib::grid::{Place, WG, lane_number};
import package::lib::values::Value;

@group(0) @binding(0) var<storage, read> ids: array<i32>;
@group(0) @binding(1) var<storage, read> dy: array<Value>;
@group(0) @binding(2) var<storage, read_write> dtable: array<Value>;

struct Params { tokens: u32, width: u32, first: u32, rows: u32 }
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let d = lane_number(place);
  if (d >= params.width) { return; }
  for (var n = 0u; n < params.tokens; n++) {
    let row = u32(ids[n]) - params.first;  // below `first`: wraps past `rows`
    if (row < params.rows) { dtable[row * params.width + d] += dy[n * params.width + d]; }
  }
}
