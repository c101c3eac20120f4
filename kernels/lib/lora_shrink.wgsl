// lora_shrink: operands of the kernels that bring an input x down to the ranks of adapters, whose matrices A stand one
// below the other: up to three of one x. TRANSPOSED: the one matrix lies as B does, a row of ranks for each k, which is
// what brings the gradient of an adapter's output down to the ranks. The sum over k is made in parts of 256, so that there is work for every
// processor of a GPU where rows and ranks are few; the parts have a fixed size, so that no bit depends on the rows.
import package::lib::weight::{quad_of, value_of, values4, FORMAT};
import package::lib::values::Value;

const PART = 256u;  // terms of a part; the last may be shorter

// M, K, all ranks R, and where those of the second and third matrix begin.
struct Params { rows: u32, width: u32, ranks: u32, second: u32, third: u32 }
@group(0) @binding(0) var<storage, read> x: array<Value>;                // f32 [M,K]
@if(VEC4 && !TRANSPOSED) @group(0) @binding(1) var<storage, read> a: array<vec4u>;  // [second, K] in FORMAT
@else @group(0) @binding(1) var<storage, read> a: array<u32>;
@if(VEC4 && SECOND) @group(0) @binding(2) var<storage, read> a2: array<vec4u>;
@if(!VEC4 && SECOND) @group(0) @binding(2) var<storage, read> a2: array<u32>;
@if(VEC4 && THIRD) @group(0) @binding(3) var<storage, read> a3: array<vec4u>;
@if(!VEC4 && THIRD) @group(0) @binding(3) var<storage, read> a3: array<u32>;
@group(0) @binding(4) var<storage, read_write> parts: array<f32>;        // f32 [ceil(K / 256), M, R]
@group(0) @binding(5) var<uniform> params: Params;

@if(TRANSPOSED)
fn of_rank(r: u32, k: u32) -> f32 {
  let i = k * params.ranks + r;
  return value_of(a[select(i / 2u, i, FORMAT == 0u)], i, FORMAT);
}

// Where value i lies, of those that are taken at a time.
@if(VEC4) fn place_of(i: u32) -> u32 { return quad_of(i); }
@else fn place_of(i: u32) -> u32 { return select(i / 2u, i, FORMAT == 0u); }

@if(VEC4) fn taken(held: vec4u, i: u32) -> Value { return values4(held, i); }
@else fn taken(held: u32, i: u32) -> Value { return value_of(held, i, FORMAT); }

// Values (VEC4: four at a time) q of row r of the matrices; `length`: how many a row has.
@if(TRANSPOSED)
fn a_value(r: u32, q: u32, length: u32) -> Value {
  @if(VEC4) { return vec4f(of_rank(r, 4u * q), of_rank(r, 4u * q + 1u), of_rank(r, 4u * q + 2u), of_rank(r, 4u * q + 3u)); }
  @if(!VEC4) { return of_rank(r, q); }
}
@else
fn a_value(r: u32, q: u32, length: u32) -> Value {
  @if(THIRD) {
    if (r >= params.third) {
      let i = (r - params.third) * length + q;
      return taken(a3[place_of(i)], i);
    }
  }
  @if(SECOND) {
    if (r >= params.second) {
      let i = (r - params.second) * length + q;
      return taken(a2[place_of(i)], i);
    }
  }
  let i = r * length + q;
  return taken(a[place_of(i)], i);
}

fn store_part(part: u32, m: u32, r: u32, sum: f32) {
  if (m < params.rows && r < params.ranks) { parts[(part * params.rows + m) * params.ranks + r] = sum; }
}
