// sample: draws one token a row, and keeps the books of generation.
//   x[v] = logits[v], or with a repetition penalty, where prompt or completion hold v already: logits[v] * penalty
//   if logits[v] < 0, logits[v] / penalty if not.
//   p[v] ~ exp(x[v] / temperature) over the kept tokens: the top_k largest, of those the fewest that hold top_p of
//   the probability (ties with the last one kept), of those the ones with at least min_p times the probability of the
//   likeliest; then the first v whose running sum exceeds u * total.
//   u = philox(key = (seed, step), counter = (prompt, generation, position, 0)): src/rl/rng.ts#uniform01
//   temperature 0: the largest x, the first of equals.
//   Where the chosen logit or the sum of the weights is no finite number, no token is: tokens says so.
// Shapes    logits f32 [L,V]; rows i32 [R,4]: logits row, prompt, generation, prompt length; state i32 [4+E]: slot of
//           the last token (-1 before the first), seed, step, E, then the E end tokens; in and out done i32 [R]; out
//           next i32 [R] and next_position i32 [R] for the coming forward, tokens i32 [R,T] at column slot + 1 (-1 once
//           done, -2 for no token); in and out with PENALTY seen i32 [R,ceil(V/32)]: bit v % 32 of word v / 32 for a
//           token that the row holds.  FILTER: top_k, top_p or min_p is on; PENALTY: repetition_penalty is
// Dispatch  one workgroup per row: (R,1,1), folded to 2-D past 65535
// Numerics  f32; every sum in an order of its own row and of the device's lanes
// Why       VEC4, for GPUs: lanes read quads side by side, four under way together; block sums are of neighbours
// Twin      src/ops/sampling/sample.ts#sampleF64
import package::lib::grid::{Fold, WG, group_number};
import package::lib::random::philox_uniform;
import package::lib::sampling::logits::{
  Row, logit_at, logits_at, order_key, params, partial, partial_index, quads_at, scratch, seen, weight_of,
};
import package::lib::sampling::threshold::kept_from;

@group(0) @binding(1) var<storage, read> rows: array<vec4i>;
@group(0) @binding(2) var<storage, read> state: array<i32>;
@group(0) @binding(3) var<storage, read_write> done: array<i32>;
@group(0) @binding(4) var<storage, read_write> next: array<i32>;
@group(0) @binding(5) var<storage, read_write> next_position: array<i32>;
@group(0) @binding(6) var<storage, read_write> tokens: array<i32>;

const LOWEST = -3.4028234e38;  // of a lane without tokens
const NO_TOKEN = -2;  // src/ops/sampling/sample.ts
override BLOCKS: u32;  // that a lane's run of tokens is summed in: SCRATCH / WG at the most, with VEC4 so many

// With VEC4 a block is whole quads.
fn block_size() -> u32 {
  @if(VEC4) return (params.vocab + 4u * WG * BLOCKS - 1u) / (4u * WG * BLOCKS) * 4u;
  @else return (params.vocab + WG * BLOCKS - 1u) / (WG * BLOCKS);
}

@if(VEC4) struct Best { x: f32, v: u32 }

// The better of what a lane has and a later quad.
@if(VEC4)
fn better(best: Best, x: vec4f, quad: u32) -> Best {
  let most = max(max(x.x, x.y), max(x.z, x.w));
  if (most <= best.x) { return best; }
  return Best(most, 4u * quad + select(select(select(3u, 2u, x.z == most), 1u, x.y == most), 0u, x.x == most));
}

// Largest logit of the row and the first place where it stands.
fn best_token(lane: u32, row: Row) -> u32 {
  var best = lane;
  var most = LOWEST;
  @if(VEC4) {
    var found = Best(most, best);
    let quads = params.vocab / 4u;
    for (var quad = lane; quad < quads; quad += 4u * WG) {
      let x = quads_at(row, quad);
      found = better(found, x.a, quad);
      if (quad + WG < quads) { found = better(found, x.b, quad + WG); }
      if (quad + 2u * WG < quads) { found = better(found, x.c, quad + 2u * WG); }
      if (quad + 3u * WG < quads) { found = better(found, x.d, quad + 3u * WG); }
    }
    most = found.x;
    best = found.v;
  }
  @else {
    for (var v = lane; v < params.vocab; v += WG) {
      let x = logit_at(row, v);
      if (x > most) { most = x; best = v; }
    }
  }
  partial[lane] = most;
  partial_index[lane] = best;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      let other = partial[lane + half];
      if (other > partial[lane] || (other == partial[lane] && partial_index[lane + half] < partial_index[lane])) {
        partial[lane] = other;
        partial_index[lane] = partial_index[lane + half];
      }
    }
    workgroupBarrier();
  }
  let winner = workgroupUniformLoad(&partial_index[0]);
  workgroupBarrier();
  return winner;
}

// By bits: a compiler may assume that f32 arithmetic makes no NaN and no infinity.
fn is_finite(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

fn is_kept(x: f32, floor_key: u32) -> bool {
  @if(FILTER) return order_key(x) >= floor_key;
  @else return true;
}

// The weights of a block, quad by quad. Lanes take blocks side by side: of a line of memory, all that it holds.
@if(VEC4)
fn block_sum(row: Row, number: u32, peak: f32, floor_key: u32) -> f32 {
  let size = block_size() / 4u;
  let begin = number * size;
  var sum = 0.0;
  for (var quad = begin; quad < min(begin + size, params.vocab / 4u); quad++) {
    let x = logits_at(row, quad);
    var weight = exp((x - peak) / params.temperature);
    @if(FILTER) {
      weight.x = select(0.0, weight.x, is_kept(x.x, floor_key));
      weight.y = select(0.0, weight.y, is_kept(x.y, floor_key));
      weight.z = select(0.0, weight.z, is_kept(x.z, floor_key));
      weight.w = select(0.0, weight.w, is_kept(x.w, floor_key));
    }
    sum = (((sum + weight.x) + weight.y) + weight.z) + weight.w;
  }
  return sum;
}

// Each lane sums a run of tokens, in blocks; the lane whose run holds the wanted finds the block and in that the token.
// partial[0] is then what all of them weigh.
fn draw(lane: u32, row: Row, peak: f32, floor_key: u32, u: f32, fallback: u32) -> u32 {
  var mass = 0.0;
  @if(VEC4) {
    for (var number = lane; number < WG * BLOCKS; number += WG) {
      scratch[number] = block_sum(row, number, peak, floor_key);
    }
    workgroupBarrier();
    for (var b = 0u; b < BLOCKS; b++) { mass += scratch[lane * BLOCKS + b]; }
  }
  @else {
    let block = block_size();
    let begin = min(lane * BLOCKS * block, params.vocab);
    let end = min(begin + BLOCKS * block, params.vocab);
    var v = begin;
    for (var b = 0u; b < BLOCKS; b++) {
      var sum = 0.0;
      for (let stop = min(v + block, end); v < stop; v++) {
        let x = logit_at(row, v);
        if (is_kept(x, floor_key)) { sum += weight_of(x, peak); }
      }
      scratch[lane * BLOCKS + b] = sum;
      mass += sum;
    }
  }
  partial[lane] = mass;
  if (lane == 0u) { partial_index[0] = fallback; }
  workgroupBarrier();
  var total = 0.0;
  var before = 0.0;
  for (var other = 0u; other < WG; other++) {
    if (other == lane) { before = total; }
    total += partial[other];
  }
  let wanted = u * total;
  workgroupBarrier();
  if (lane == 0u) { partial[0] = total; }
  if (mass > 0.0 && before <= wanted && wanted < before + mass) {
    partial_index[0] = token_in_run(lane, row, peak, floor_key, wanted, before, fallback);
  }
  workgroupBarrier();
  return partial_index[0];
}

// The first token of the lane's run at which the sum, `before` ahead of it, exceeds what is wanted.
fn token_in_run(lane: u32, row: Row, peak: f32, floor_key: u32, wanted: f32, before: f32, fallback: u32) -> u32 {
  let block = block_size();
  var running = before;
  var chosen_block = 0u;
  var next = before;
  for (var b = 0u; b < BLOCKS && wanted >= next; b++) {
    let sum = scratch[lane * BLOCKS + b];
    if (sum > 0.0) {
      running = next;
      next += sum;
      chosen_block = b;
    }
  }
  let begin = (lane * BLOCKS + chosen_block) * block;
  var chosen = fallback;
  for (var v = begin; v < min(begin + block, params.vocab); v++) {
    let x = logit_at(row, v);
    if (is_kept(x, floor_key)) {
      running += weight_of(x, peak);
      chosen = v;
      if (wanted < running) { break; }
    }
  }
  return chosen;
}

@compute @workgroup_size(WG)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let r = group_number(fold);
  if (r >= params.rows) { return; }
  let counters = rows[r];
  let row = Row(u32(counters.x) * params.vocab, r * ((params.vocab + 31u) / 32u));
  let slot = u32(state[0] + 1);
  let best = best_token(lane, row);
  var chosen = best;
  var total = 0.0;
  if (params.temperature > 0.0) {
    let peak = logit_at(row, best);
    var floor_key = 0u;
    @if(FILTER) { floor_key = kept_from(lane, row, peak); }
    let u = philox_uniform(vec4u(u32(counters.y), u32(counters.z), slot, 0u), vec2u(u32(state[1]), u32(state[2])));
    chosen = draw(lane, row, peak, floor_key, u, best);
    total = partial[0];
  }
  @if(PENALTY) { storageBarrier(); }  // all lanes have read `seen`
  if (lane == 0u) {
    let ended = done[r] != 0;
    let drawn = select(NO_TOKEN, i32(chosen), is_finite(logit_at(row, chosen)) && is_finite(total));
    if (slot < params.columns) { tokens[r * params.columns + slot] = select(drawn, -1, ended); }
    for (var e = 0; e < state[3]; e++) {
      if (i32(chosen) == state[4 + e]) { done[r] = 1; }
    }
    @if(PENALTY) { seen[row.seen + chosen / 32u] |= 1u << (chosen % 32u); }
    next[r] = i32(chosen);
    next_position[r] = counters.w + i32(slot);
  }
}
