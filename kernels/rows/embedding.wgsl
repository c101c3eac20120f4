// embedding: row of the table for each token.
//   y[n,d] = table[ids[n] - first, d]
// Shapes    table: rows first .. first + rows of [V,D] f32, or packed bf16/f16 two to a word; ids i32 [N], 0 <= id < V;
//           out y f32 [N,D]; width: values of a row, VEC4 vec4s. Tokens of other rows get 0 from the first window, and
//           keep what they have from later ones
// Dispatch  one workgroup per `share` tokens: (ceil(N/share),1,1), folded to 2-D past 65535
// Twin      src/ops/rows/embedding.ts#embeddingF64     Gradient: embedding_grad.wgsl
import package::lib::grid::{Place, WG, workgroup_number};
import package::lib::values::Value;
import package::lib::weight::{FORMAT, unpack2, unpack4};

@if(VEC4) @group(0) @binding(0) var<storage, read> table: array<vec2u>;
@else @group(0) @binding(0) var<storage, read> table: array<u32>;
@group(0) @binding(1) var<storage, read> ids: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<Value>;

struct Params { tokens: u32, width: u32, first: u32, rows: u32, share: u32 }
@group(0) @binding(3) var<uniform> params: Params;

@if(VEC4)
fn table_value(i: u32) -> Value {
  if (FORMAT == 0u) { return vec4f(bitcast<vec2f>(table[2u * i]), bitcast<vec2f>(table[2u * i + 1u])); }
  return unpack4(table[i]);
}
@else
fn table_value(i: u32) -> Value {
  if (FORMAT == 0u) { return bitcast<f32>(table[i]); }
  return unpack2(table[i / 2u])[i % 2u];
}

@compute @workgroup_size(WG)
fn main(place: Place) {
  let begin = workgroup_number(place) * params.share;
  for (var n = begin; n < min(begin + params.share, params.tokens); n++) {
    let row = u32(ids[n]) - params.first;  // below `first`: wraps past `rows`
    let to = n * params.width;
    if (row < params.rows) {
      for (var d = place.lane; d < params.width; d += WG) { y[to + d] = table_value(row * params.width + d); }
    } else if (params.first == 0u) {
      for (var d = place.lane; d < params.width; d += WG) { y[to + d] = Value(); }
    }
  }
}
