// attention_tile: a lane's share of attention: four pairs of a row and a query head, or four rows, against four others
//   at a time.
import package::lib::attention::{keys_of, params, queries_of, sharing};

// Four in a row from `first` on; past the end: the last again.
fn four_from(first: u32, end: u32) -> vec4u {
  return min(vec4u(first) + vec4u(0u, 1u, 2u, 3u), vec4u(end - 1u));
}

// From .. to (excluded) of four.
struct Ranges {
  begin: vec4u,
  end: vec4u,
}

fn ranges_of(a: vec2u, b: vec2u, c: vec2u, d: vec2u) -> Ranges {
  return Ranges(vec4u(a.x, b.x, c.x, d.x), vec4u(a.y, b.y, c.y, d.y));
}

// Which of them hold i.
fn within(i: u32, ranges: Ranges) -> vec4<bool> {
  return (vec4u(i) >= ranges.begin) & (vec4u(i) < ranges.end);
}

// Where the (row, head) are that lie at these places when rows and the query heads of a key head are counted through.
fn slots_of(pairs: vec4u, kv_head: u32) -> vec4u {
  return pairs / sharing() * params.heads + kv_head * sharing() + pairs % sharing();
}

// What a lane takes. Where `first` is not below `count`, nothing.
struct Own {
  kv_head: u32,
  first: u32,
  count: u32,    // of the pairs, or rows, of a key head
  rows: vec4u,
  slots: vec4u,  // of the (row, head)
  seen: Ranges,  // the keys that the pairs see, or the queries that see the rows
}

fn own_pairs(lane: u32) -> Own {
  let kv_head = lane % params.kv_heads;
  let first = lane / params.kv_heads * 4u;
  let count = params.rows * sharing();
  let pairs = four_from(first, count);
  let rows = pairs / sharing();
  let seen = ranges_of(keys_of(rows.x), keys_of(rows.y), keys_of(rows.z), keys_of(rows.w));
  return Own(kv_head, first, count, rows, slots_of(pairs, kv_head), seen);
}

fn own_rows(lane: u32) -> Own {
  let kv_head = lane % params.kv_heads;
  let first = lane / params.kv_heads * 4u;
  let rows = four_from(first, params.rows);
  let seen = ranges_of(queries_of(rows.x), queries_of(rows.y), queries_of(rows.z), queries_of(rows.w));
  return Own(kv_head, first, params.rows, rows, rows * params.kv_heads + kv_head, seen);
}

// Where the vectors of a key head begin in these rows.
fn kv_bases_of(rows: vec4u, kv_head: u32) -> vec4u {
  return (rows * params.kv_heads + kv_head) * params.vectors;
}

// Of four values, each in four partial sums.
fn totals(x: mat4x4f) -> vec4f {
  let parts = transpose(x);
  return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}
