// member_add: adds to each row of a linear layer's outputs the part of its member's low-rank perturbation, in place.
//   y[m,n] += sum_r low[m, first + r] A[members[m], r, n];  a row without a member stays as it is
// Shapes    y f32 [M,N], in and out; low f32 [M, ranks]; factors f32 [members, pitch], where A [rank, N] begins at
//           `begin` of a member's row; members i32 [M], -1 = none; with VEC4, N, pitch and begin are in vec4s
// Dispatch  one workgroup per `share` rows: (ceil(M/share),1,1), folded to 2-D past 65535
// Numerics  f32, r in order by fma; the sum is added at once
// Twin      src/ops/population/member_linears.ts#memberLinearF64
import package::lib::grid::{Place, WG, workgroup_number};
import package::lib::values::Value;

@group(0) @binding(0) var<storage, read> low: array<f32>;
@group(0) @binding(1) var<storage, read> factors: array<Value>;
@group(0) @binding(2) var<storage, read> members: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<Value>;

struct Params {
  rows: u32,
  columns: u32,
  share: u32,
  ranks: u32,
  first: u32,
  rank: u32,
  pitch: u32,
  begin: u32,
}
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let begin = workgroup_number(place) * params.share;
  for (var m = begin; m < min(begin + params.share, params.rows); m++) {
    let member = members[m];
    if (member < 0) { continue; }
    let a = u32(member) * params.pitch + params.begin;
    let from_low = m * params.ranks + params.first;
    for (var n = place.lane; n < params.columns; n += WG) {
      var sum = Value();
      for (var r = 0u; r < params.rank; r++) {
        sum = fma(Value(low[from_low + r]), factors[a + r * params.columns + n], sum);
      }
      let at = m * params.columns + n;
      y[at] += sum;
    }
  }
}
