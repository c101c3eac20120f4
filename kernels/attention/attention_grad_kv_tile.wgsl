// attention_grad_kv_tile: attention_grad_kv in tiles of 32 keys of a head, for GPUs. The same sums, the same bits.
//   dv[j,g] = sum_i sum_h p[i,h] do[i,h],   dk[j,g] = sum_i sum_h ds[i,h] q[i,h]
//   p[i,h] = exp(scale q[i,h].k[j,g] - lse[i,h]),   ds[i,h] = scale p[i,h] (do[i,h].v[j,g] - delta[i,h])
//   stats = (lse, delta);   SOFTCAP as in attention_grad_kv.wgsl
//   h: the H/G query heads of key head g;   i = j .. bounds[j].y - 1, as long as j is among the last `window` keys of i
//   PREFIX: also for prefix rows j, added to what prefix_dk and prefix_dv hold: i = readers[j].x .. readers[j].y - 1
// Shapes    q, d_o f32 [N,H*D]; k, v f32 [N,G*D]; bounds, ranges i32 [N,2]; readers i32 [P,2]; stats f32 [N,H,2]; out
//           dk, dv f32 [N,G*D]; prefix_k, prefix_v, in and out prefix_dk, prefix_dv f32 [P,G*D]; D = 4*VECTORS
// Dispatch  a workgroup of 256 lanes makes 32 rows of a key head, those of the prefix first, which most queries see:
//           (ceil(P/32) + ceil(N/32))*G workgroups, folded to 2-D
// Numerics  f32, queries and then heads strictly in order; a query that must not see a row has weight 0
// Cost      lib/attention_slabs.wgsl: 38.4 KB of workgroup memory at the most, 30.2 KB where there are 32
// Twin      src/ops/attention/attention_f64.ts#attentionGradF64
import package::lib::attention_packed::{bounds_of, k, own_keys, params, q, sharing, v};
@if(PREFIX) import package::lib::attention_packed::{prefix_k, prefix_keys, prefix_v};
import package::lib::attention_slabs::{
  add_products, add_slab, Dots, fours_of, has_vector, Held, held_either, held_other, held_row, held_vector, in_head,
  LANES, OTHERS, OWN, PART, put_slab, put_weights, put_whole, ROWS, SLAB, sum_at, Sums, twos_of, vector_of, VECTORS,
  Whole, whole_at,
};
import package::lib::attention_tile::totals;
import package::lib::grid::{Fold, group_number};
import package::lib::softcap::{capped_four, slope_four};

@group(0) @binding(8) var<storage, read> stats: array<vec2f>;
@group(0) @binding(9) var<storage, read> d_o: array<vec4f>;
@group(0) @binding(10) var<storage, read_write> dk: array<vec4f>;
@group(0) @binding(11) var<storage, read_write> dv: array<vec4f>;
@if(PREFIX) @group(0) @binding(12) var<storage, read> readers: array<vec2i>;
@if(PREFIX) @group(0) @binding(13) var<storage, read_write> prefix_dk: array<vec4f>;
@if(PREFIX) @group(0) @binding(14) var<storage, read_write> prefix_dv: array<vec4f>;

// What the lanes have in common.
struct Tile {
  is_prefix: bool,  // rows of the prefix
  first: u32,    // row
  last: u32,
  head: u32,     // of the keys
}

fn key_vector(tile: Tile, at: u32) -> vec4f {
  @if(PREFIX) { if (tile.is_prefix) { return prefix_k[at]; } }
  return k[at];
}

fn value_vector(tile: Tile, at: u32) -> vec4f {
  @if(PREFIX) { if (tile.is_prefix) { return prefix_v[at]; } }
  return v[at];
}

// Where the vectors of a row begin; past the last row: the last again.
fn row_base(tile: Tile, row: u32) -> u32 {
  return (min(tile.first + row, tile.last) * params.kv_heads + tile.head) * VECTORS;
}

// Where vector n of a lane's own lies in its four rows.
fn vector_at(tile: Tile, lane: u32, n: u32) -> vec4u {
  let row = 4u * fours_of(lane);
  let bases = vec4u(row_base(tile, row), row_base(tile, row + 1u), row_base(tile, row + 2u), row_base(tile, row + 3u));
  return bases + vector_of(lane, n);
}

// Of the (query, head) at a place when queries and the heads of a key head are counted through; past the end: the last.
fn slot_of(tile: Tile, pair: u32, end: u32) -> u32 {
  let at = min(pair, end - 1u);
  return at / sharing() * params.heads + tile.head * sharing() + at % sharing();
}

fn keys_and_queries(tile: Tile, pair: u32, end: u32, lane: u32, c: u32) -> Held {
  let row = held_row(lane);
  let either = held_either(lane);
  let other = held_other(lane);
  let from_head = min(c + held_vector(lane), VECTORS - 1u);
  return Held(
    key_vector(tile, row_base(tile, row) + from_head),
    in_head(q[slot_of(tile, pair + either, end) * VECTORS + from_head], c + held_vector(lane)),
    in_head(q[slot_of(tile, pair + other, end) * VECTORS + from_head], c + held_vector(lane)),
  );
}

fn values_and_upstreams(tile: Tile, pair: u32, end: u32, lane: u32, c: u32) -> Held {
  let row = held_row(lane);
  let either = held_either(lane);
  let other = held_other(lane);
  let from_head = min(c + held_vector(lane), VECTORS - 1u);
  return Held(
    value_vector(tile, row_base(tile, row) + from_head),
    in_head(d_o[slot_of(tile, pair + either, end) * VECTORS + from_head], c + held_vector(lane)),
    in_head(d_o[slot_of(tile, pair + other, end) * VECTORS + from_head], c + held_vector(lane)),
  );
}

fn whole_query(tile: Tile, pair: u32, end: u32, at: vec2u) -> vec4f {
  return q[slot_of(tile, pair + at.x, end) * VECTORS + at.y];
}

fn whole_queries(tile: Tile, pair: u32, end: u32, lane: u32) -> Whole {
  return Whole(
    whole_query(tile, pair, end, whole_at(lane, 0u)),
    whole_query(tile, pair, end, whole_at(lane, 1u)),
    whole_query(tile, pair, end, whole_at(lane, 2u)),
    whole_query(tile, pair, end, whole_at(lane, 3u)),
  );
}

fn whole_upstream(tile: Tile, pair: u32, end: u32, at: vec2u) -> vec4f {
  return d_o[slot_of(tile, pair + at.x, end) * VECTORS + at.y];
}

fn whole_upstreams(tile: Tile, pair: u32, end: u32, lane: u32) -> Whole {
  return Whole(
    whole_upstream(tile, pair, end, whole_at(lane, 0u)),
    whole_upstream(tile, pair, end, whole_at(lane, 1u)),
    whole_upstream(tile, pair, end, whole_at(lane, 2u)),
    whole_upstream(tile, pair, end, whole_at(lane, 3u)),
  );
}

// The queries that may see a row, from .. to (excluded).
fn readers_of(tile: Tile, row: u32) -> vec2u {
  if (row > tile.last) { return vec2u(); }
  @if(PREFIX) { if (tile.is_prefix) { return vec2u(readers[row]); } }
  return vec2u(row, bounds_of(row).y);
}

// From the first to the last query that may see any row of the tile.
fn all_readers(tile: Tile) -> vec2u {
  @if(PREFIX) {
    if (tile.is_prefix) {
      var all = vec2u(0xffffffffu, 0u);
      for (var row = tile.first; row <= tile.last; row++) {
        let own = vec2u(readers[row]);
        if (own.x < own.y) { all = vec2u(min(all.x, own.x), max(all.y, own.y)); }
      }
      return all;
    }
  }
  return vec2u(tile.first, bounds_of(tile.last).y);
}

// The first key, of this kind, that a query sees.
fn first_key(tile: Tile, query: u32) -> u32 {
  @if(PREFIX) {
    if (tile.is_prefix) {
      let keys = prefix_keys(query);
      return select(0xffffffffu, keys.x, keys.x < keys.y);
    }
  }
  return own_keys(query).x;
}

fn tile_of(index: u32) -> Tile {
  let number = index / params.kv_heads;
  let head = index % params.kv_heads;
  @if(PREFIX) let prefix_tiles = (params.prefix_rows + ROWS - 1u) / ROWS;
  @else let prefix_tiles = 0u;
  let first = select(number - prefix_tiles, number, number < prefix_tiles) * ROWS;
  @if(PREFIX) {
    if (number < prefix_tiles) { return Tile(true, first, min(first + ROWS, params.prefix_rows) - 1u, head); }
  }
  return Tile(false, first, min(first + ROWS, params.rows) - 1u, head);
}

// Of four keys: their weights in a query's softmax, and the gradients of their scores.
struct Weights {
  p: vec4f,
  ds: vec4f,
}

fn scores_of(dots: mat4x4f) -> vec4f {
  @if(SOFTCAP) return capped_four(params.scale * totals(dots), params.softcap);
  @else return params.scale * totals(dots);
}

fn weight_of(scores: vec4f, pulls: mat4x4f, stat: vec2f, sees: vec4<bool>) -> Weights {
  @if(SOFTCAP) let factor = params.scale * slope_four(scores, params.softcap);
  @else let factor = params.scale;
  let rise = scores - stat.x;
  let p = select(vec4f(), exp(min(rise, vec4f(1.0))), sees);
  return Weights(p, factor * p * (totals(pulls) - stat.y));
}

// What the sums of a prefix begin with: vector n of a lane's own, of its four rows.
@if(PREFIX) fn held_keys(tile: Tile, lane: u32, n: u32) -> mat4x4f {
  if (!has_vector(lane, n)) { return mat4x4f(); }
  let at = vector_at(tile, lane, n);
  return mat4x4f(prefix_dk[at.x], prefix_dk[at.y], prefix_dk[at.z], prefix_dk[at.w]);
}

@if(PREFIX) fn held_values(tile: Tile, lane: u32, n: u32) -> mat4x4f {
  if (!has_vector(lane, n)) { return mat4x4f(); }
  let at = vector_at(tile, lane, n);
  return mat4x4f(prefix_dv[at.x], prefix_dv[at.y], prefix_dv[at.z], prefix_dv[at.w]);
}

@compute @workgroup_size(LANES)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let tile = tile_of(group_number(fold));
  if (!tile.is_prefix && tile.first >= params.rows) { return; }
  let row = tile.first + 4u * fours_of(lane);
  let rows = vec4u(row) + vec4u(0u, 1u, 2u, 3u);
  let read_a = readers_of(tile, rows.x);
  let read_b = readers_of(tile, rows.y);
  let read_c = readers_of(tile, rows.z);
  let read_d = readers_of(tile, rows.w);
  let begin = vec4u(read_a.x, read_b.x, read_c.x, read_d.x);
  let end = vec4u(read_a.y, read_b.y, read_c.y, read_d.y);
  let all = all_readers(tile);
  let pairs = all * sharing();

  var key_sums: Sums;
  var value_sums: Sums;
  @if(PREFIX) {
    if (tile.is_prefix) {
      key_sums = Sums(
        held_keys(tile, lane, 0u), held_keys(tile, lane, 1u), held_keys(tile, lane, 2u),
        held_keys(tile, lane, 3u),
      );
      value_sums = Sums(
        held_values(tile, lane, 0u), held_values(tile, lane, 1u), held_values(tile, lane, 2u),
        held_values(tile, lane, 3u),
      );
    }
  }
  var pair = pairs.x;
  while (pair < pairs.y) {
    if (first_key(tile, pair / sharing()) > tile.last) {
      pair = bounds_of(pair / sharing()).y * sharing();  // nor does the rest of this sequence see any of these rows
      continue;
    }
    var dots = Dots();
    var held = keys_and_queries(tile, pair, pairs.y, lane, 0u);
    for (var c = 0u; c < VECTORS; c += SLAB) {
      workgroupBarrier();
      put_slab(held, lane);
      workgroupBarrier();
      if (c + SLAB < VECTORS) { held = keys_and_queries(tile, pair, pairs.y, lane, c + SLAB); }
      else { held = values_and_upstreams(tile, pair, pairs.y, lane, 0u); }
      add_slab(&dots, lane);
    }
    let one_scores = scores_of(dots.one);
    let two_scores = scores_of(dots.two);
    var pulls = Dots();
    for (var c = 0u; c < VECTORS; c += SLAB) {
      workgroupBarrier();
      put_slab(held, lane);
      workgroupBarrier();
      if (c + SLAB < VECTORS) { held = values_and_upstreams(tile, pair, pairs.y, lane, c + SLAB); }
      add_slab(&pulls, lane);
    }
    var whole = whole_upstreams(tile, pair, pairs.y, lane);
    let own = pair + 2u * twos_of(lane);
    let one_query = own / sharing();
    let two_query = (own + 1u) / sharing();
    let last_query = all.y - 1u;
    let one_sees = (vec4u(one_query) >= begin) & (vec4u(one_query) < end) &
      (rows >= vec4u(first_key(tile, min(one_query, last_query))));
    let two_sees = (vec4u(two_query) >= begin) & (vec4u(two_query) < end) &
      (rows >= vec4u(first_key(tile, min(two_query, last_query))));
    let one = weight_of(one_scores, pulls.one, stats[slot_of(tile, own, pairs.y)], one_sees);
    let two = weight_of(two_scores, pulls.two, stats[slot_of(tile, own + 1u, pairs.y)], two_sees);
    let count = min(OTHERS, pairs.y - pair);
    put_weights(one.p, two.p, lane);
    for (var n = 0u; n < count; n += PART) {
      if (n > 0u) { workgroupBarrier(); }
      put_whole(whole, lane);
      workgroupBarrier();
      if (n + PART < count) { whole = whole_upstreams(tile, pair + n + PART, pairs.y, lane); }
      else { whole = whole_queries(tile, pair, pairs.y, lane); }
      add_products(&value_sums, lane, n, min(PART, count - n));
    }
    workgroupBarrier();
    put_weights(one.ds, two.ds, lane);
    for (var n = 0u; n < count; n += PART) {
      if (n > 0u) { workgroupBarrier(); }
      put_whole(whole, lane);
      workgroupBarrier();
      if (n + PART < count) { whole = whole_queries(tile, pair + n + PART, pairs.y, lane); }
      add_products(&key_sums, lane, n, min(PART, count - n));
    }
    pair += OTHERS;
  }
  let rows_left = min(4u, max(tile.last + 1u, row) - row);
  for (var r = 0u; r < rows_left; r++) {
    for (var n = 0u; n < OWN; n++) {
      if (!has_vector(lane, n)) { continue; }
      let at = row_base(tile, row + r - tile.first) + vector_of(lane, n);
      let key_sum = sum_at(key_sums, r, n);
      let value_sum = sum_at(value_sums, r, n);
      @if(PREFIX) {
        if (tile.is_prefix) {
          prefix_dk[at] = key_sum;
          prefix_dv[at] = value_sum;
          continue;
        }
      }
      dk[at] = key_sum;
      dv[at] = value_sum;
    }
  }
}
