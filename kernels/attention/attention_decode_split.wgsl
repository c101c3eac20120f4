// attention_decode_split: attention of one new token per row over its prompt and its own completion so far, by splits.
//   partial[r,h,s] = (sum_t p[t] v[t], M, sum_t p[t]),   p[t] = exp(scale q[r,h].k[t]) / 2^M,   over the t of split s
//   t = max(0, positions[r] + 1 - window) .. positions[r], in the blocks of row r;   g = h / (H/G), the key head
//   attention_decode_merge.wgsl adds them.   SOFTCAP: softcap tanh(scale q.k / softcap) for scale q.k
// NEWEST    first q and the newest key are rotated, and that and the newest value kept, as rope_kv.wgsl does
// Shapes    q f32 [R,H*D]; k_pool, v_pool [blocks,B,G*D] in FORMAT; table i32 [R,C]; positions i32 [R]; out partial f32
//           [R,H,splits,D+4]; D = 4*VECTORS <= 256, B = 2^block_shift. NEWEST: k, v f32 [R,G*D]; cos, sin f32 [P,R/2]
// Dispatch  a workgroup per split, row, key head and HEADS of its query heads: splits*R*G*ceil(H/G/HEADS), folded to
//           2-D past 65535. Lengths and blocks are read on the GPU, so that a recorded plan can replay this while they
//           change: splits that a row has not reached write nothing
// Numerics  f32, in the order of training's attention (lib/softmax_powers.wgsl): the same bits
// Why       A workgroup is a subgroup or two, so that many are at work on a core and hide each other's waits. Keys are
//           staged as they lie, KEYS at a time, in lines of odd length against bank conflicts, and a lane makes all
//           scores of a key. A lane adds a vector of values' columns; 16 values of it are in flight, GROUPED 8, which
//           meet four times the products. NEWEST: the row's last split keeps its newest token; no other workgroup reads
//           it, but those of further query heads of its key head, which keep the same bits there
// Twin      src/ops/attention/attention_decode.ts#attentionDecodeF64     Gradient: none
import package::lib::attention_decode::{VECTORS, params, positions, seen_tokens, splits_of, tokens_of_split};
import package::lib::attention_decode::unknown_zero;
import package::lib::blocks::slot_of;
import package::lib::decode_heads::{HEADS, Heads, LANES, Share, bases, bounded, head_of, load_bases, make_weights};
import package::lib::decode_heads::{queries, query_base, share_of, total, weights, wholes};
import package::lib::grid::{Fold, group_number};
import package::lib::pack::pack2_clamped;
import package::lib::rope::{Turn, turned};
import package::lib::softmax_powers::LEAST;
import package::lib::weight::{FORMAT, unpack4};

override KEYS: u32;  // that are staged at once, at most LANES
override WORDS: u32 = select(1u, 2u, FORMAT == 0u);  // vec2u of a vector of four values
override WIDTH: u32 = VECTORS * WORDS;
override LINE: u32 = WIDTH | 1u;

@if(!NEWEST) @group(0) @binding(2) var<storage, read> q: array<vec4f>;
@if(!NEWEST) @group(0) @binding(3) var<storage, read> k_pool: array<vec2u>;
@if(!NEWEST) @group(0) @binding(4) var<storage, read> v_pool: array<vec2u>;
@if(NEWEST) @group(0) @binding(2) var<storage, read> q: array<vec2f>;
@if(NEWEST) @group(0) @binding(3) var<storage, read_write> k_pool: array<vec2u>;
@if(NEWEST) @group(0) @binding(4) var<storage, read_write> v_pool: array<vec2u>;
@group(0) @binding(6) var<storage, read_write> partial: array<vec4f>;
@if(NEWEST) @group(0) @binding(7) var<storage, read> k: array<vec2f>;
@if(NEWEST) @group(0) @binding(8) var<storage, read> v: array<vec4f>;
@if(NEWEST) @group(0) @binding(9) var<storage, read> cosines: array<vec2f>;
@if(NEWEST) @group(0) @binding(10) var<storage, read> sines: array<vec2f>;

var<workgroup> keys: array<vec2u, KEYS * LINE>;
@if(NEWEST) var<workgroup> rotated: array<vec2f, HEADS * VECTORS * 2u>;

// A vector of four columns for each query head.
struct Fours {
  a: vec4f,
  @if(GROUPED) b: vec4f,
  @if(GROUPED) c: vec4f,
  @if(GROUPED) d: vec4f,
}

fn unpacked(raw: vec4u) -> vec4f {
  if (FORMAT == 0u) { return bitcast<vec4f>(raw); }
  return unpack4(raw.xy);
}

// Turn c of a head: as lib/rope.wgsl gives it to a lane.
@if(NEWEST) fn turn_at(row: u32, c: u32) -> Turn {
  let part = params.part;
  if (c >= part) { return Turn(part + c, c + VECTORS, vec2f(1.0), vec2f(0.0)); }
  let angle = min(u32(positions[row]), params.last_position) * part + c;
  return Turn(c, c + part, cosines[angle], sines[angle]);
}

@if(NEWEST) fn load_queries(share: Share, lane: u32) {
  for (var x = lane; x < HEADS * VECTORS; x += LANES) {
    let begin = 2u * query_base(share, x / VECTORS);
    let turn = turn_at(share.row, x % VECTORS);
    let both = turned(q[begin + turn.a], q[begin + turn.b], turn.cosine, turn.sine);
    let at = x / VECTORS * VECTORS * 2u;
    rotated[at + turn.a] = both[0];
    rotated[at + turn.b] = both[1];
  }
  workgroupBarrier();
  for (var x = lane; x < HEADS * VECTORS; x += LANES) {
    queries[x] = vec4f(rotated[2u * x], rotated[2u * x + 1u]) * params.scale;
  }
  workgroupBarrier();
}

@if(!NEWEST) fn load_queries(share: Share, lane: u32) {
  for (var x = lane; x < HEADS * VECTORS; x += LANES) {
    queries[x] = q[query_base(share, x / VECTORS) + x % VECTORS] * params.scale;
  }
}

// The newest token's key head, rotated, and its values, into their place in the pools, if the row has room for it.
@if(NEWEST) fn keep_newest(share: Share, lane: u32) {
  let slot = slot_of(i32(share.row), positions[share.row], params.columns, params.block_shift);
  let begin = (share.row * params.kv_heads + share.kv_head) * VECTORS;
  for (var c = lane; c < VECTORS; c += LANES) {
    let turn = turn_at(share.row, c);
    let both = turned(k[2u * begin + turn.a], k[2u * begin + turn.b], turn.cosine, turn.sine);
    rotated[turn.a] = both[0];
    rotated[turn.b] = both[1];
  }
  workgroupBarrier();
  if (slot >= 0) {
    let kept = (u32(slot) * params.kv_heads + share.kv_head) * VECTORS;
    for (var c = lane; c < VECTORS; c += LANES) {
      let key = vec4f(rotated[2u * c], rotated[2u * c + 1u]);
      let value = v[begin + c];
      let at = (kept + c) * WORDS;
      if (FORMAT == 0u) {
        k_pool[at] = bitcast<vec2u>(key.xy);
        k_pool[at + 1u] = bitcast<vec2u>(key.zw);
        v_pool[at] = bitcast<vec2u>(value.xy);
        v_pool[at + 1u] = bitcast<vec2u>(value.zw);
      } else {
        k_pool[at] = vec2u(pack2_clamped(key.xy), pack2_clamped(key.zw));
        v_pool[at] = vec2u(pack2_clamped(value.xy), pack2_clamped(value.zw));
      }
    }
  }
  storageBarrier();
}

// The tile's keys; past the last key, that again.
fn stage(tile: u32, count: u32, lane: u32) {
  for (var x = lane; x < KEYS * WIDTH; x += 8u * LANES) {
    let w0 = staged_word(tile, count, x);
    let w1 = staged_word(tile, count, x + 1u * LANES);
    let w2 = staged_word(tile, count, x + 2u * LANES);
    let w3 = staged_word(tile, count, x + 3u * LANES);
    let w4 = staged_word(tile, count, x + 4u * LANES);
    let w5 = staged_word(tile, count, x + 5u * LANES);
    let w6 = staged_word(tile, count, x + 6u * LANES);
    let w7 = staged_word(tile, count, x + 7u * LANES);
    put(x, w0);
    put(x + 1u * LANES, w1);
    put(x + 2u * LANES, w2);
    put(x + 3u * LANES, w3);
    put(x + 4u * LANES, w4);
    put(x + 5u * LANES, w5);
    put(x + 6u * LANES, w6);
    put(x + 7u * LANES, w7);
  }
}

fn staged_word(tile: u32, count: u32, x: u32) -> vec2u {
  return k_pool[bases[min(tile + x / WIDTH, count - 1u)] * WORDS + x % WIDTH];
}

fn put(x: u32, word: vec2u) {
  if (x < KEYS * WIDTH) { keys[x / WIDTH * LINE + x % WIDTH] = word; }
}

// Vector c of the staged key that begins at `line`.
fn key_vector(line: u32, c: u32) -> vec4f {
  if (FORMAT == 0u) { return unpacked(vec4u(keys[line + 2u * c], keys[line + 2u * c + 1u])); }
  return unpacked(vec4u(keys[line + c], 0u, 0u));
}

fn score_of(line: u32) -> Heads {
  var a = vec4f(unknown_zero());
  @if(GROUPED) {
    var b = a;
    var c = a;
    var d = a;
    for (var n = 0u; n < VECTORS; n++) {
      let key = key_vector(line, n);
      a = fma(queries[n], key, a);
      b = fma(queries[VECTORS + n], key, b);
      c = fma(queries[2u * VECTORS + n], key, c);
      d = fma(queries[3u * VECTORS + n], key, d);
    }
    return bounded(vec4f(total(a), total(b), total(c), total(d)));
  }
  @if(!GROUPED) {
    for (var n = 0u; n < VECTORS; n++) { a = fma(queries[n], key_vector(line, n), a); }
    return bounded(total(a));
  }
}

// Scores of all tokens of a split, into `weights`. @return the largest `whole` of those that the lane made
fn make_scores(count: u32, lane: u32) -> Heads {
  var most = Heads(LEAST);
  for (var tile = 0u; tile < count; tile += KEYS) {
    stage(tile, count, lane);
    workgroupBarrier();
    if (lane < KEYS && tile + lane < count) {
      let score = score_of(lane * LINE);
      weights[tile + lane] = score;
      most = max(most, wholes(score));
    }
    workgroupBarrier();
  }
  return most;
}

// Values of a lane that are loaded before they are added.
@if(GROUPED) const IN_FLIGHT = 8u;
@else const IN_FLIGHT = 16u;

// A vector of columns of the sums of values, and the sums of weights.
struct Sums {
  values: Fours,
  weight: Heads,
}

fn raw_value(t: u32, c: u32) -> vec4u {
  let at = (bases[t] + c) * WORDS;
  if (FORMAT == 0u) { return vec4u(v_pool[at], v_pool[at + 1u]); }
  return vec4u(v_pool[at], 0u, 0u);
}

fn add_value(sums: ptr<function, Sums>, t: u32, raw: vec4u) {
  let value = unpacked(raw);
  let weight = weights[t];
  @if(!GROUPED) { (*sums).values.a = fma(value, vec4f(weight), (*sums).values.a); }
  @if(GROUPED) {
    (*sums).values.a = fma(value, vec4f(weight.x), (*sums).values.a);
    (*sums).values.b = fma(value, vec4f(weight.y), (*sums).values.b);
    (*sums).values.c = fma(value, vec4f(weight.z), (*sums).values.c);
    (*sums).values.d = fma(value, vec4f(weight.w), (*sums).values.d);
  }
  (*sums).weight += weight;
}

fn add_values(count: u32, c: u32) -> Sums {
  var sums = Sums();
  var t = 0u;
  for (; t + IN_FLIGHT <= count; t += IN_FLIGHT) {
    let v0 = raw_value(t, c);
    let v1 = raw_value(t + 1u, c);
    let v2 = raw_value(t + 2u, c);
    let v3 = raw_value(t + 3u, c);
    let v4 = raw_value(t + 4u, c);
    let v5 = raw_value(t + 5u, c);
    let v6 = raw_value(t + 6u, c);
    let v7 = raw_value(t + 7u, c);
    @if(!GROUPED) let v8 = raw_value(t + 8u, c);
    @if(!GROUPED) let v9 = raw_value(t + 9u, c);
    @if(!GROUPED) let v10 = raw_value(t + 10u, c);
    @if(!GROUPED) let v11 = raw_value(t + 11u, c);
    @if(!GROUPED) let v12 = raw_value(t + 12u, c);
    @if(!GROUPED) let v13 = raw_value(t + 13u, c);
    @if(!GROUPED) let v14 = raw_value(t + 14u, c);
    @if(!GROUPED) let v15 = raw_value(t + 15u, c);
    add_value(&sums, t, v0);
    add_value(&sums, t + 1u, v1);
    add_value(&sums, t + 2u, v2);
    add_value(&sums, t + 3u, v3);
    add_value(&sums, t + 4u, v4);
    add_value(&sums, t + 5u, v5);
    add_value(&sums, t + 6u, v6);
    add_value(&sums, t + 7u, v7);
    @if(!GROUPED) {
      add_value(&sums, t + 8u, v8);
      add_value(&sums, t + 9u, v9);
      add_value(&sums, t + 10u, v10);
      add_value(&sums, t + 11u, v11);
      add_value(&sums, t + 12u, v12);
      add_value(&sums, t + 13u, v13);
      add_value(&sums, t + 14u, v14);
      add_value(&sums, t + 15u, v15);
    }
  }
  for (; t < count; t++) { add_value(&sums, t, raw_value(t, c)); }
  return sums;
}

fn of_head(sums: Fours, h: u32) -> vec4f {
  @if(GROUPED) {
    if (h == 1u) { return sums.b; }
    if (h == 2u) { return sums.c; }
    if (h == 3u) { return sums.d; }
  }
  return sums.a;
}

@compute @workgroup_size(LANES)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let share = share_of(group_number(fold));
  if (share.split >= params.splits) { return; }
  let seen = seen_tokens(share.row);
  let splits = splits_of(seen);
  if (share.split >= splits) { return; }
  let tokens = tokens_of_split(seen, share.split);
  let count = tokens.y - tokens.x;
  load_bases(share, tokens, lane);
  load_queries(share, lane);
  @if(NEWEST) { if (share.split + 1u == splits) { keep_newest(share, lane); } }
  workgroupBarrier();
  let most = make_weights(count, lane, make_scores(count, lane));
  for (var c = lane; c < VECTORS; c += LANES) {
    let sums = add_values(count, c);
    for (var h = 0u; h < share.heads; h++) {
      let slot = share.row * params.heads + share.first_head + h;
      let base = (slot * params.splits + share.split) * (VECTORS + 1u);
      partial[base + c] = of_head(sums.values, h);
      if (c == 0u) { partial[base + VECTORS] = vec4f(head_of(most, h), head_of(sums.weight, h), 0.0, 0.0); }
    }
  }
}
