// attention_simd8: a subgroup's share of attention: a lane for each of 8 rows of a head.
//   A lane of a CPU's subgroup loads one value at a time. The 8 lanes load 8 keys, or queries, between them, one each,
//   and broadcast: an eighth of the loads of the plain kernels
import package::lib::attention::params;

// Of four columns, of a head: what a lane has room for.
@if(WIDE) const MOST_VECTORS = 64u;
@else const MOST_VECTORS = 32u;

// What the lanes have in common. Where `first` is not below params.rows, they have nothing to do.
struct Rows {
  head: u32,
  first: u32,
  last: u32,
}

// @param heads  of a row
fn rows_of(workgroup: u32, heads: u32) -> Rows {
  let first = workgroup / heads * 8u;
  return Rows(workgroup % heads, first, min(first + 8u, params.rows) - 1u);
}

// The row of a lane: lanes past the end repeat the last.
fn own_row(rows: Rows, lane: u32) -> u32 {
  return min(rows.first + lane, rows.last);
}

// Of four partial sums.
fn total(x: vec4f) -> f32 {
  return (x.x + x.y) + (x.z + x.w);
}
