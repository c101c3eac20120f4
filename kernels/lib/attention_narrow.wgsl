// attention_narrow: a subgroup's share of attention with heads up to 16 wide: 16 items of a key head, which are pairs
//   (row, query head), counted row by row, or rows. Lane l of the first quad holds columns l, l+4, ... of items 0 .. 7
//   and the weights of two of them; the second quad of items 8 .. 15. Items past the last repeat it.
//   A lane of a CPU's subgroup loads one value at a time, which takes as long as 10 products, and an array indexed at
//   run time is as slow. So each value that is loaded meets 8 items, and what is indexed is unrolled: quick to compile
//   while heads are narrow
import package::lib::attention::{keys_of, params, queries_of, sharing};

override VECTORS: u32;  // of four columns, of a head

@group(0) @binding(2) var<storage, read> q: array<f32>;
@group(0) @binding(3) var<storage, read> k: array<f32>;
@group(0) @binding(4) var<storage, read> v: array<f32>;
@group(0) @binding(5) var<storage, read_write> o: array<f32>;
@group(0) @binding(8) var<storage, read> d_o: array<f32>;
@group(0) @binding(9) var<storage, read_write> dq: array<f32>;
@group(0) @binding(10) var<storage, read_write> dk: array<f32>;
@group(0) @binding(11) var<storage, read_write> dv: array<f32>;

// lib/attention_splits.wgsl, a value at a time.
@group(0) @binding(9) var<storage, read_write> ended: array<f32>;

// What the lanes have in common. Where `first` is not below `count`, they have nothing to do.
struct Items {
  kv_head: u32,
  first: u32,
  last: u32,
  count: u32,  // of a key head
}

fn items_of(workgroup: u32, count: u32) -> Items {
  let first = workgroup / params.kv_heads * 16u;
  return Items(workgroup % params.kv_heads, first, min(first + 16u, count) - 1u, count);
}

fn pairs_of(workgroup: u32) -> Items {
  return items_of(workgroup, params.rows * sharing());
}

fn rows_of(workgroup: u32) -> Items {
  return items_of(workgroup, params.rows);
}

// The two items whose weights a lane holds.
struct Own {
  slots: vec2u,  // of the (row, head)
  begin: vec2u,  // of the keys that the pairs see, or of the queries that see the rows
  end: vec2u,
}

fn own_two(items: Items, lane: u32) -> vec2u {
  let first = items.first + (lane & 6u) + (lane & 1u) * 4u + (lane & 4u);
  return min(vec2u(first) + vec2u(0u, 1u), vec2u(items.last));
}

fn own_pairs(items: Items, lane: u32) -> Own {
  let pairs = own_two(items, lane);
  let rows = pairs / sharing();
  let first = keys_of(rows.x);
  let second = keys_of(rows.y);
  let slots = rows * params.heads + items.kv_head * sharing() + pairs % sharing();
  return Own(slots, vec2u(first.x, second.x), vec2u(first.y, second.y));
}

fn own_rows(items: Items, lane: u32) -> Own {
  let rows = own_two(items, lane);
  let first = queries_of(rows.x);
  let second = queries_of(rows.y);
  let slots = rows * params.kv_heads + items.kv_head;
  return Own(slots, vec2u(first.x, second.x), vec2u(first.y, second.y));
}

// Whether the two see i, or i sees them.
fn sees(own: Own, i: u32) -> vec2<bool> {
  return (vec2u(i) >= own.begin) & (vec2u(i) < own.end);
}

// Of the eight items of a quad the low or the high four.
@diagnostic(off, subgroup_uniformity) fn slots_of_quad(slots: vec2u, is_high: bool) -> vec4u {
  let low = vec4u(quadBroadcast(slots, 0u), quadBroadcast(slots, 2u));
  let high = vec4u(quadBroadcast(slots, 1u), quadBroadcast(slots, 3u));
  return select(low, high, is_high);
}

// Where a lane's first columns are in them.
fn bases_of(slots: vec2u, lane: u32, is_high: bool) -> vec4u {
  return slots_of_quad(slots, is_high) * VECTORS * 4u + (lane & 3u);
}

// Where they are in `ended`.
fn ended_bases_of(slots: vec2u, lane: u32, is_high: bool) -> vec4u {
  return slots_of_quad(slots, is_high) * (VECTORS + 1u) * 4u + (lane & 3u);
}

// Which of a lane's two are not repeats of the last.
fn are_items(items: Items, lane: u32) -> vec2<bool> {
  let first = items.first + (lane & 6u) + (lane & 1u) * 4u + (lane & 4u);
  return vec2u(first, first + 1u) <= vec2u(items.last);
}

// The low and the high four of eight values, one of which comes anew.
fn with_half(eight: mat2x4f, half: u32, x: vec4f) -> mat2x4f {
  return mat2x4f(select(eight[0], x, half == 0u), select(eight[1], x, half == 1u));
}

// Sums of eight values over the four lanes of a quad, column 0 + 1 and 2 + 3 first: a lane gets those of its two.
@diagnostic(off, subgroup_uniformity) fn sum_over_quad(x: mat2x4f, lane: u32) -> vec2f {
  let odd = (lane & 1u) != 0u;
  let upper = (lane & 2u) != 0u;
  let fours = select(x[0], x[1], odd) + subgroupShuffleXor(select(x[1], x[0], odd), 1u);
  return select(fours.xy, fours.zw, upper) + subgroupShuffleXor(select(fours.zw, fours.xy, upper), 2u);
}

// The eight values of a quad, from the lanes that have two each.
@diagnostic(off, subgroup_uniformity) fn of_quad(x: vec2f) -> mat2x4f {
  return mat2x4f(
    vec4f(quadBroadcast(x, 0u), quadBroadcast(x, 2u)),
    vec4f(quadBroadcast(x, 1u), quadBroadcast(x, 3u)),
  );
}
