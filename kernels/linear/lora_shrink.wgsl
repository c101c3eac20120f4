// lora_shrink: what the matrices A of adapters make of an input, in parts of the sum.
//   parts[p,m,r] = sum of x[m,k] a[r,k] over the k of part p, 256 p .. 256 p + 255
// Shapes    x f32 [M,K]; up to three matrices a [.,K] in FORMAT, one below the other, SECOND and THIRD where there are
//           so many, or, TRANSPOSED, one [K,.]; out parts f32 [ceil(K / 256), M, R]; with VEC4 K is a multiple of 4 (of 8 when a is packed)
// Dispatch  a thread makes 4 rows x 4 ranks of a part: ceil(K / 256) ceil(M / 4) ceil(R / 4) of them, folded
// Numerics  f32, the k of a part strictly in order by fma; lora_low.wgsl adds the parts in order
// Twin      src/ops/linear/lora_shrink.ts#loraShrinkF64
import package::lib::grid::{lane_number, Place, WG};
import package::lib::linear_layer::{add4, rows_from};
import package::lib::lora_shrink::{a_value, params, PART, store_part, x};
import package::lib::values::{Value, VALUE_SIZE};

@if(VEC4)
fn add_values(sums: vec4f, v: Value, w0: Value, w1: Value, w2: Value, w3: Value) -> vec4f {
  return add4(sums, v, transpose(mat4x4f(w0, w1, w2, w3)));
}
@else
fn add_values(sums: vec4f, v: Value, w0: Value, w1: Value, w2: Value, w3: Value) -> vec4f {
  return fma(vec4f(v), vec4f(w0, w1, w2, w3), sums);
}

fn store_row(part: u32, m: u32, r: u32, sums: vec4f) {
  store_part(part, m, r, sums.x);
  store_part(part, m, r + 1u, sums.y);
  store_part(part, m, r + 2u, sums.z);
  store_part(part, m, r + 3u, sums.w);
}

@compute @workgroup_size(WG)
fn main(place: Place) {
  let id = lane_number(place);
  let columns = (params.ranks + 3u) / 4u;
  let rows = (params.rows + 3u) / 4u;
  let r = id % columns * 4u;
  let m = id / columns % rows * 4u;
  let part = id / columns / rows;
  let length = params.width / VALUE_SIZE;
  let end = min((part + 1u) * (PART / VALUE_SIZE), length);
  let at = rows_from(m, params.rows, length);
  let rank = min(vec4u(r) + vec4u(0u, 1u, 2u, 3u), vec4u(params.ranks - 1u));
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  for (var q = part * (PART / VALUE_SIZE); q < end; q++) {
    let w0 = a_value(rank.x, q, length);
    let w1 = a_value(rank.y, q, length);
    let w2 = a_value(rank.z, q, length);
    let w3 = a_value(rank.w, q, length);
    s0 = add_values(s0, x[at.x + q], w0, w1, w2, w3);
    s1 = add_values(s1, x[at.y + q], w0, w1, w2, w3);
    s2 = add_values(s2, x[at.z + q], w0, w1, w2, w3);
    s3 = add_values(s3, x[at.w + q], w0, w1, w2, w3);
  }
  if (part * PART >= params.width) { return; }
  store_row(part, m, r, s0);
  store_row(part, m + 1u, r, s1);
  store_row(part, m + 2u, r, s2);
  store_row(part, m + 3u, r, s3);
}
