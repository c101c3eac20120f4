// member_shrink: what the factors B of each row's member make of the row, in parts of the sum, or, WHOLE, all of it.
//   parts[p,m,j] = sum of x[m,k] B_j[k] over the k of part p, 256 p .. 256 p + 255;  0 where the row has no member
//   WHOLE: low[m,j] = sum_p of these
//   B_j: rank j % rank of matrix j / rank, of the member members[m]
// Shapes    x f32 [M,K]; factors f32 [members, pitch], where B of up to three matrices, [rank, K] each, begin at first,
//           second and third of a member's row; members i32 [M], -1 = none; out parts f32 [ceil(K / 256), M, ranks],
//           or [1, M, ranks]; with VEC4, K, pitch and the places are in vec4s
// Dispatch  one thread per value of parts, folded to 2-D past 65535
// Numerics  f32, the k of a part strictly in order by fma; WHOLE adds the parts in order, as lora_low.wgsl does
// Twin      src/ops/population/member_linears.ts#memberLinearF64
import package::lib::grid::{lane_number, Place, WG};
import package::lib::values::{Value, VALUE_SIZE};

const PART = 256u / VALUE_SIZE;

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> factors: array<Value>;
@group(0) @binding(2) var<storage, read> members: array<i32>;
@group(0) @binding(3) var<storage, read_write> parts: array<f32>;

struct Params {
  rows: u32,
  width: u32,
  ranks: u32,
  rank: u32,
  pitch: u32,
  first: u32,
  second: u32,
  third: u32,
}
@group(0) @binding(4) var<uniform> params: Params;

@if(VEC4)
fn add_product(sum: f32, a: Value, b: Value) -> f32 {
  return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}
@else
fn add_product(sum: f32, a: Value, b: Value) -> f32 { return fma(a, b, sum); }

fn part_sum(row: u32, b: u32, first: u32) -> f32 {
  var sum = 0.0;
  for (var k = first; k < min(first + PART, params.width); k++) {
    sum = add_product(sum, x[row + k], factors[b + k]);
  }
  return sum;
}

@compute @workgroup_size(WG)
fn main(place: Place) {
  let id = lane_number(place);
  let j = id % params.ranks;
  let m = id / params.ranks % params.rows;
  let part = id / params.ranks / params.rows;  // WHOLE: 0, or beyond the last row
  let first = part * PART;
  @if(WHOLE) { if (part > 0u) { return; } }
  if (first >= params.width) { return; }
  let member = members[m];
  if (member < 0) {
    parts[id] = 0.0;
    return;
  }
  let matrix = j / params.rank;
  let begin = select(select(params.third, params.second, matrix == 1u), params.first, matrix == 0u);
  let b = u32(member) * params.pitch + begin + j % params.rank * params.width;
  let row = m * params.width;
  var sum = part_sum(row, b, first);
  @if(WHOLE) {
    for (var next = PART; next < params.width; next += PART) { sum += part_sum(row, b, next); }
  }
  parts[id] = sum;
}
