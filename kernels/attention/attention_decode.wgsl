// attention_decode: attention of one new token per row over its prompt and its own completion so far, by splits.
//   Of split s of (row r, head h), of tokens t = max(0, positions[r] + 1 - window) .. positions[r] in the blocks of row r:
//   partial[r,h,s] = (sum_t p[t] v[t], M, sum_t p[t]),   p[t] = exp(scale q[r,h].k[t]) / 2^M,   g = h / (H/G), the key head
//   attention_decode_merge.wgsl adds them. WHOLE: a workgroup takes all splits and makes o itself; o[r] = 0 when
//   table[r,0] is negative.   SOFTCAP: softcap tanh(scale q.k / softcap) for scale q.k
// Shapes    q f32 [R,H*D]; k_pool, v_pool [blocks,B,G*D] in FORMAT; table i32 [R,C]; positions i32 [R]; out partial f32
//           [R,H,splits,D+4], or WHOLE o f32 [R,H*D]; D = 4*VECTORS <= 256, B = 2^block_shift
// Dispatch  a workgroup per split, row, key head and HEADS of its query heads: splits*R*G*ceil(H/G/HEADS), folded to 2-D
//           past 65535; WHOLE without the splits. Lengths and blocks are read on the GPU, so that a recorded plan can
//           replay this while they change: splits that a row has not reached write nothing
// Numerics  f32, in the order of training's attention (lib/softmax_powers.wgsl): the same bits
// Why       Keys are staged KEYS at a time, rows of odd length against bank conflicts, and four neighbouring lanes make
//           the four partial sums of a dot product. Values are read by lanes side by side, 8 of a lane in flight. WHOLE
//           is for CPUs: no staging, since a barrier costs as much as ten loads; a lane for each key, then each column
// GROUPED   HEADS = 4 query heads of a key head at once, which meet every key and value that is loaded
// Twin      src/ops/attention/attention_decode.ts#attentionDecodeF64     Gradient: none
import package::lib::attention_decode::{VECTORS, k_pool, params, positions, q, seen_tokens, splits_of, tokens_of_split};
import package::lib::attention_decode::{unknown_zero, v_pool};
import package::lib::blocks::{slot_at, table};
import package::lib::grid::{Fold, group_number};
import package::lib::softcap::{capped, capped_four};
import package::lib::softmax_powers::{LEAST, SPLIT, part_of, part_of_four, power, power_of_four, whole_of, whole_of_four};
import package::lib::weight::{FORMAT, quad_of, value_of, values4};

override LANES: u32;
@if(!WHOLE) override KEYS: u32;  // that are staged at once: 4*KEYS <= LANES
@if(!WHOLE) override STRIDE: u32 = VECTORS | 1u;

// A value for each query head.
@if(GROUPED) alias Heads = vec4f;
@else alias Heads = f32;
@if(GROUPED) const HEADS = 4u;
@else const HEADS = 1u;

@if(!WHOLE) @group(0) @binding(6) var<storage, read_write> partial: array<f32>;
@if(WHOLE) @group(0) @binding(6) var<storage, read_write> o: array<f32>;

@if(!WHOLE) var<workgroup> queries: array<Heads, VECTORS * 4u>;
@if(WHOLE) var<workgroup> queries: array<vec4f, HEADS * VECTORS>;
@if(!WHOLE) var<workgroup> keys: array<vec4f, KEYS * STRIDE>;
@if(!WHOLE) var<workgroup> parts: array<Heads, KEYS * 4u>;
var<workgroup> bases: array<u32, SPLIT>;       // where each token's key head begins, in values
var<workgroup> weights: array<Heads, SPLIT>;   // first the scores
var<workgroup> highest: array<Heads, LANES>;

@if(GROUPED) fn head_of(x: Heads, h: u32) -> f32 { return x[h]; }
@else fn head_of(x: Heads, h: u32) -> f32 { return x; }

@if(GROUPED) fn powers(x: Heads) -> Heads { return power_of_four(x); }
@else fn powers(x: Heads) -> Heads { return power(x); }

@if(GROUPED) fn wholes(x: Heads) -> Heads { return whole_of_four(x); }
@else fn wholes(x: Heads) -> Heads { return whole_of(x); }

@if(GROUPED) fn parts_of(x: Heads, whole: Heads) -> Heads { return part_of_four(x, whole); }
@else fn parts_of(x: Heads, whole: Heads) -> Heads { return part_of(x, whole); }

@if(GROUPED && SOFTCAP) fn bounded(x: Heads) -> Heads { return capped_four(x, params.softcap); }
@if(!GROUPED && SOFTCAP) fn bounded(x: Heads) -> Heads { return capped(x, params.softcap); }
@if(!SOFTCAP) fn bounded(x: Heads) -> Heads { return x; }

// Vector c of the key that begins at value `base`.
fn key_vector(base: u32, c: u32) -> vec4f {
  let i = base / 4u + c;
  return values4(k_pool[quad_of(i)], i);
}

fn value_at(i: u32) -> f32 { return value_of(v_pool[select(i / 2u, i, FORMAT == 0u)], i, FORMAT); }

// What a workgroup takes.
struct Share {
  row: u32,
  kv_head: u32,
  first_head: u32,
  heads: u32,  // HEADS, or what is left of the key head's
  split: u32,
}

// Splits change slowest, so that those not reached yet stand together.
fn share_of(index: u32) -> Share {
  let sharing = params.heads / params.kv_heads;
  let groups = (sharing + HEADS - 1u) / HEADS;  // of a key head
  let all = params.rows * params.kv_heads * groups;
  let rest = index % all;
  let kv_head = rest / groups % params.kv_heads;
  let first = rest % groups * HEADS;
  return Share(rest / groups / params.kv_heads, kv_head, kv_head * sharing + first, min(HEADS, sharing - first), index / all);
}

// Where the vectors of a held query begin: past the last head, that again.
fn query_base(share: Share, h: u32) -> u32 {
  return (share.row * params.heads + share.first_head + min(h, share.heads - 1u)) * VECTORS;
}

fn load_queries(share: Share, lane: u32) {
  @if(WHOLE) {
    for (var x = lane; x < HEADS * VECTORS; x += LANES) {
      queries[x] = q[query_base(share, x / VECTORS) + x % VECTORS] * params.scale;
    }
  }
  @if(!WHOLE && GROUPED) {
    for (var c = lane; c < VECTORS; c += LANES) {
      let of_heads = transpose(mat4x4f(
        q[query_base(share, 0u) + c],
        q[query_base(share, 1u) + c],
        q[query_base(share, 2u) + c],
        q[query_base(share, 3u) + c],
      ));
      for (var a = 0u; a < 4u; a++) { queries[4u * c + a] = of_heads[a] * params.scale; }
    }
  }
  @if(!WHOLE && !GROUPED) {
    for (var c = lane; c < VECTORS; c += LANES) {
      let query = q[query_base(share, 0u) + c] * params.scale;
      for (var a = 0u; a < 4u; a++) { queries[4u * c + a] = query[a]; }
    }
  }
}

fn load_bases(share: Share, tokens: vec2u, lane: u32) {
  let entry = share.row * params.columns;
  let start = u32(table[entry]);
  for (var t = lane; t < tokens.y - tokens.x; t += LANES) {
    let slot = slot_at(entry, start + tokens.x + t, params.block_shift);
    bases[t] = (slot * params.kv_heads + share.kv_head) * VECTORS * 4u;
  }
}

// Eight vectors of the tile's keys, `apart` from each other; past the last key, that again.
@if(!WHOLE) fn stage(tile: u32, count: u32, lane: u32) {
  for (var x = lane; x < KEYS * VECTORS; x += 8u * LANES) {
    let a = tile_vector(tile, count, x);
    let b = tile_vector(tile, count, x + LANES);
    let c = tile_vector(tile, count, x + 2u * LANES);
    let d = tile_vector(tile, count, x + 3u * LANES);
    let e = tile_vector(tile, count, x + 4u * LANES);
    let f = tile_vector(tile, count, x + 5u * LANES);
    let g = tile_vector(tile, count, x + 6u * LANES);
    let h = tile_vector(tile, count, x + 7u * LANES);
    put(x, a);
    put(x + LANES, b);
    put(x + 2u * LANES, c);
    put(x + 3u * LANES, d);
    put(x + 4u * LANES, e);
    put(x + 5u * LANES, f);
    put(x + 6u * LANES, g);
    put(x + 7u * LANES, h);
  }
}

@if(!WHOLE) fn tile_vector(tile: u32, count: u32, x: u32) -> vec4f {
  return key_vector(bases[min(tile + x / VECTORS, count - 1u)], x % VECTORS);
}

@if(!WHOLE) fn put(x: u32, vector: vec4f) {
  if (x < KEYS * VECTORS) { keys[x / VECTORS * STRIDE + x % VECTORS] = vector; }
}

// Scores of all tokens of a split, into `weights`. @return the largest `whole` of those that the lane made
@if(!WHOLE) fn make_scores(count: u32, lane: u32) -> Heads {
  var most = Heads(LEAST);
  for (var tile = 0u; tile < count; tile += KEYS) {
    stage(tile, count, lane);
    workgroupBarrier();
    if (lane < KEYS * 4u) {
      let column = lane % 4u;
      let key = lane / 4u * STRIDE;
      var part = Heads(unknown_zero());
      for (var c = 0u; c < VECTORS; c++) {
        part = fma(queries[4u * c + column], Heads(keys[key + c][column]), part);
      }
      parts[lane] = part;
    }
    workgroupBarrier();
    if (lane < KEYS && tile + lane < count) {
      let dot = (parts[4u * lane] + parts[4u * lane + 1u]) + (parts[4u * lane + 2u] + parts[4u * lane + 3u]);
      let score = bounded(dot);
      weights[tile + lane] = score;
      most = max(most, wholes(score));
    }
  }
  return most;
}

@if(WHOLE) fn make_scores(count: u32, lane: u32) -> Heads {
  var most = Heads(LEAST);
  for (var t = lane; t < count; t += LANES) {
    var dots: array<vec4f, HEADS>;
    for (var h = 0u; h < HEADS; h++) { dots[h] = vec4f(unknown_zero()); }
    for (var c = 0u; c < VECTORS; c++) {
      let key = key_vector(bases[t], c);
      for (var h = 0u; h < HEADS; h++) { dots[h] = fma(queries[h * VECTORS + c], key, dots[h]); }
    }
    @if(GROUPED) let score = bounded(vec4f(total(dots[0]), total(dots[1]), total(dots[2]), total(dots[3])));
    @else let score = bounded(total(dots[0]));
    weights[t] = score;
    most = max(most, wholes(score));
  }
  return most;
}

@if(WHOLE) fn total(x: vec4f) -> f32 { return (x.x + x.y) + (x.z + x.w); }

// The weights in the place of the scores. @return M
fn make_weights(count: u32, lane: u32, own_most: Heads) -> Heads {
  highest[lane] = own_most;
  workgroupBarrier();
  var most = highest[0];
  for (var n = 1u; n < LANES; n++) { most = max(most, highest[n]); }
  for (var t = lane; t < count; t += LANES) {
    let whole = wholes(weights[t]);
    weights[t] = parts_of(weights[t], whole) * powers(whole - most);
  }
  workgroupBarrier();
  return most;
}

// One column of the sum of values, and the sum of weights.
struct Sums {
  value: Heads,
  weight: Heads,
}

fn add_values(count: u32, column: u32) -> Sums {
  var sum = Heads();
  var weight = Heads();
  var t = 0u;
  for (; t + 8u <= count; t += 8u) {
    let a = value_at(bases[t] + column);
    let b = value_at(bases[t + 1u] + column);
    let c = value_at(bases[t + 2u] + column);
    let d = value_at(bases[t + 3u] + column);
    let e = value_at(bases[t + 4u] + column);
    let f = value_at(bases[t + 5u] + column);
    let g = value_at(bases[t + 6u] + column);
    let h = value_at(bases[t + 7u] + column);
    sum = fma(Heads(a), weights[t], sum);
    sum = fma(Heads(b), weights[t + 1u], sum);
    sum = fma(Heads(c), weights[t + 2u], sum);
    sum = fma(Heads(d), weights[t + 3u], sum);
    sum = fma(Heads(e), weights[t + 4u], sum);
    sum = fma(Heads(f), weights[t + 5u], sum);
    sum = fma(Heads(g), weights[t + 6u], sum);
    sum = fma(Heads(h), weights[t + 7u], sum);
    for (var n = 0u; n < 8u; n++) { weight += weights[t + n]; }
  }
  for (; t < count; t++) {
    sum = fma(Heads(value_at(bases[t] + column)), weights[t], sum);
    weight += weights[t];
  }
  return Sums(sum, weight);
}

@compute @workgroup_size(LANES)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let share = share_of(group_number(fold));
  let width = VECTORS * 4u;
  @if(!WHOLE) {
    if (share.split >= params.splits) { return; }
    let seen = seen_tokens(share.row);
    if (share.split >= splits_of(seen)) { return; }
    let tokens = tokens_of_split(seen, share.split);
    let count = tokens.y - tokens.x;
    load_queries(share, lane);
    load_bases(share, tokens, lane);
    workgroupBarrier();
    let most = make_weights(count, lane, make_scores(count, lane));
    for (var column = lane; column < width; column += LANES) {
      let sums = add_values(count, column);
      for (var h = 0u; h < share.heads; h++) {
        let slot = share.row * params.heads + share.first_head + h;
        let base = (slot * params.splits + share.split) * (width + 4u);
        partial[base + column] = head_of(sums.value, h);
        if (column == 0u) {
          partial[base + width] = head_of(most, h);
          partial[base + width + 1u] = head_of(sums.weight, h);
        }
      }
    }
  }
  @if(WHOLE) {
    if (share.split > 0u) { return; }
    let seen = seen_tokens(share.row);
    let splits = splits_of(seen);
    let first_base = (share.row * params.heads + share.first_head) * width;
    if (splits == 0u) {
      for (var x = lane; x < share.heads * width; x += LANES) { o[first_base + x] = 0.0; }
      return;
    }
    load_queries(share, lane);
    var all_most = Heads();
    var all_weight = Heads();
    for (var s = 0u; s < splits; s++) {
      let tokens = tokens_of_split(seen, s);
      let count = tokens.y - tokens.x;
      workgroupBarrier();
      load_bases(share, tokens, lane);
      workgroupBarrier();
      let most = make_weights(count, lane, make_scores(count, lane));
      // What ended before lies in o, to 2^all_most.
      let risen = select(max(all_most, most), most, s == 0u);
      let keep = powers(all_most - risen);
      let new_keep = powers(most - risen);
      var weight = Heads();
      for (var column = lane; column < width; column += LANES) {
        let sums = add_values(count, column);
        weight = fma(sums.weight, new_keep, select(all_weight * keep, Heads(), s == 0u));
        for (var h = 0u; h < share.heads; h++) {
          let at = first_base + h * width + column;
          var x = head_of(sums.value, h) * head_of(new_keep, h);
          if (s > 0u) { x = fma(o[at], head_of(keep, h), x); }
          o[at] = select(x, x / head_of(weight, h), s + 1u == splits);
        }
      }
      all_most = risen;
      all_weight = weight;
    }
  }
}
