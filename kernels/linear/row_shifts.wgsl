// row_shifts: powers of two that bring rows of a matrix into the range of f16.
//   shift[m] = 14 - max_k floor(log2(|a[m,k]| 2^-column[k])), kept within -126 .. 126, so that the row's largest
//   |a[m,k]| 2^(shift[m] - column[k]) lies in [2^14, 2^15): below f16's largest number, and with 29 binary orders below
//   it in which f16 keeps all of its bits. Without COLUMNS, column[k] = 0
// Shapes    a [M,S] in FORMAT, of which columns 0..K count; column i32 [K], within -126 .. 126; out shift i32 [M]
//           S a multiple of 4 (of 8 when a is packed)
// Dispatch  one workgroup a row, rows folded over x and y: (M, 1, 1) or foldGrid(M)
// Numerics  exact: exponents are read from the bits, and a maximum has no order. What is below f32's normal numbers
//           counts as zero; a row of zeros has the shift 126
// Twin      src/ops/linear/matrix_units.ts#rowShiftsF64
import package::lib::grid::{Place, WG, workgroup_number};
import package::lib::weight::{quad_of, values4};

const NONE = -1000;

struct Params { rows: u32, width: u32, stride: u32 }
@group(0) @binding(0) var<storage, read> a: array<vec4u>;
@if(COLUMNS) @group(0) @binding(1) var<storage, read> column: array<i32>;
@group(0) @binding(2) var<storage, read_write> shift: array<i32>;
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> largest: array<i32, WG>;

@if(COLUMNS)
fn columns4(k: u32) -> vec4i {
  let last = params.width - 1u;
  return vec4i(column[min(k, last)], column[min(k + 1u, last)], column[min(k + 2u, last)], column[min(k + 3u, last)]);
}
@else
fn columns4(k: u32) -> vec4i {
  return vec4i();
}

fn largest_order(m: u32, q: u32) -> i32 {
  let i = m * (params.stride / 4u) + q;
  let field = (bitcast<vec4u>(values4(a[quad_of(i)], i)) >> vec4u(23u)) & vec4u(255u);
  let k = vec4u(q * 4u) + vec4u(0u, 1u, 2u, 3u);
  let counts = (field != vec4u(0u)) & (k < vec4u(params.width));
  let order = select(vec4i(NONE), vec4i(field) - 127 - columns4(q * 4u), counts);
  return max(max(order.x, order.y), max(order.z, order.w));
}

@compute @workgroup_size(WG)
fn main(place: Place) {
  let m = workgroup_number(place);
  let row = min(m, params.rows - 1u);  // a workgroup that is left over goes along to the barriers
  var most = i32(NONE);
  for (var q = place.lane; q < (params.width + 3u) / 4u; q += WG) { most = max(most, largest_order(row, q)); }
  largest[place.lane] = most;
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (place.lane < half) { largest[place.lane] = max(largest[place.lane], largest[place.lane + half]); }
  }
  if (place.lane == 0u && m < params.rows) { shift[m] = clamp(14 - largest[0], -126, 126); }
}
