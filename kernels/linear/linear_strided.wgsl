// linear_strided: a matrix product of any shape and layout, for sizes that the kernels which tile do not take.
//   c[i,j] = sum_l a[i a_row + l a_term] b[j b_row + l b_term] + bias[j] + residual[i,j]  (ADD: c[i,j] += the same sum)
// Shapes    a f32; b in FORMAT; bias [J] in BIAS_FORMAT where BIAS; residual, where RESIDUAL, and out c f32 [I,c_row],
//           c_row >= J, of which columns 0..J are written
// Dispatch  one thread per element: ceil(I J / WG) workgroups, folded to 2-D past 65535
// Numerics  f32, l strictly in order by fma (ADD: onto c): the same bits as the kernels that tile
// Twin      src/ops/linear/linear.ts#linearF64, #linearGradF64
import package::lib::grid::{Place, WG, lane_number};
import package::lib::linear_output::with_addends;
import package::lib::weight::{FORMAT, value_of};

struct Params {
  rows: u32,
  columns: u32,
  terms: u32,
  a_row: u32,
  a_term: u32,
  b_row: u32,
  b_term: u32,
  c_row: u32,
  @if(ADAPTER) rank: u32,
  @if(ADAPTER) scale: f32,
}
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

fn b_at(i: u32) -> f32 {
  return value_of(b[select(i / 2u, i, FORMAT == 0u)], i, FORMAT);
}

@compute @workgroup_size(WG)
fn main(place: Place) {
  let id = lane_number(place);
  let i = id / params.columns;
  let j = id % params.columns;
  if (i >= params.rows) { return; }
  let at = i * params.c_row + j;
  var sum = 0.0;
  @if(ADD) { sum = c[at]; }
  for (var l = 0u; l < params.terms; l++) {
    sum = fma(a[i * params.a_row + l * params.a_term], b_at(j * params.b_row + l * params.b_term), sum);
  }
  @if(ADAPTER) { c[at] = with_addends(sum, i, j, at, params.rank, params.scale); }
  @else { c[at] = with_addends(sum, i, j, at, 0u, 0.0); }
}
