// member_update: moves a weight by the sum of a population's low-rank matrices, in place: the step of evolution
// strategies (EGGROLL, arXiv:2511.16652), where A carries what each is weighed by.
//   w[n,k] += sum_i sum_r A[i,r,n] B[i,r,k]
// Shapes    w f32 [rows,K] in and out, rows row .. row + rows - 1 of the weight [N,K]; factors f32 [members, pitch],
//           where A [rank,N] begins at a_begin and B [rank,K] at b_begin of a member's row; with VEC4, K and b_begin
//           are in vec4s
// Dispatch  one workgroup per `share` rows: (ceil(rows/share),1,1), folded to 2-D past 65535
// Numerics  f32, members in order and their ranks in order by fma; the sum is added at once
// Twin      src/ops/population/member_update.ts#memberUpdateF64
import package::lib::grid::{Place, WG, workgroup_number};
import package::lib::values::{Value, VALUE_SIZE};

@group(0) @binding(0) var<storage, read> factors_a: array<f32>;
@group(0) @binding(1) var<storage, read> factors_b: array<Value>;
@group(0) @binding(2) var<storage, read_write> w: array<Value>;

struct Params {
  rows: u32,
  row: u32,
  outputs: u32,
  width: u32,
  share: u32,
  members: u32,
  rank: u32,
  pitch: u32,
  a_begin: u32,
  b_begin: u32,
}
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let begin = workgroup_number(place) * params.share;
  for (var n = begin; n < min(begin + params.share, params.rows); n++) {
    for (var k = place.lane; k < params.width; k += WG) {
      var sum = Value();
      for (var i = 0u; i < params.members; i++) {
        let a = i * params.pitch + params.a_begin + params.row + n;
        let b = i * (params.pitch / VALUE_SIZE) + params.b_begin + k;
        for (var r = 0u; r < params.rank; r++) {
          sum = fma(Value(factors_a[a + r * params.outputs]), factors_b[b + r * params.width], sum);
        }
      }
      let at = n * params.width + k;
      w[at] += sum;
    }
  }
}
