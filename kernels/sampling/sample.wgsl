// sample: draws one token a row, and keeps the books of generation.
//   x[v] = logits[v], or with a repetition penalty, where prompt or completion hold v already: logits[v] * penalty
//   if logits[v] < 0, logits[v] / penalty if not.
//   p[v] ~ exp(x[v] / temperature) over the kept tokens: the top_k largest, of those the fewest that hold top_p of
//   the probability (ties with the last one kept), of those the ones with at least min_p times the probability of the
//   likeliest; then the first v whose running sum exceeds u * total.
//   u = philox(key = (seed, step), counter = (prompt, generation, position, 0)): src/rl/rng.ts#uniform01
//   temperature 0: the largest x, the first of equals.
// Shapes    logits f32 [L,V]; rows i32 [R,4]: logits row, prompt, generation, prompt length; state i32 [4+E]: slot of
//           the last token (-1 before the first), seed, step, E, then the E end tokens; in and out done i32 [R]; out
//           next i32 [R] and next_position i32 [R] for the coming forward, tokens i32 [R,T] at column slot + 1 (-1 once
//           done); in and out with a penalty seen i32 [R,ceil(V/32)]: bit v % 32 of word v / 32 for a token that the
//           row holds, else one word that is left alone
// Dispatch  one workgroup per row: (R,1,1), folded to 2-D past 65535
// Numerics  f32; the threshold of top_k and top_p: a histogram over equal steps of the logit names the step that holds it,
//           whose tokens are few and are searched digit by digit on order-preserving integer keys; every sum in an order
//           of its own row
// Twin      src/ops/sampling/sample.ts#sampleF64
override WG: u32 = 64u;  // power of two, 8 .. 64
override FILTER: bool = false;  // top_k, top_p or min_p is on
override PENALTY: bool = false;  // repetition_penalty is on

struct Params {
  rows: u32,
  vocab: u32,
  columns: u32,
  top_k: u32,
  temperature: f32,
  top_p: f32,
  min_p_gap: f32,  // temperature * ln(min_p)
  repetition_penalty: f32,
}
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> rows: array<vec4i>;
@group(0) @binding(2) var<storage, read> state: array<i32>;
@group(0) @binding(3) var<storage, read_write> done: array<i32>;
@group(0) @binding(4) var<storage, read_write> next: array<i32>;
@group(0) @binding(5) var<storage, read_write> next_position: array<i32>;
@group(0) @binding(6) var<storage, read_write> tokens: array<i32>;
@group(0) @binding(7) var<storage, read_write> seen: array<u32>;
@group(0) @binding(8) var<uniform> params: Params;

const LOWEST = -3.4028234e38;  // of a lane without tokens
const SCRATCH = 2048u;
const LISTED = 1024u;  // tokens of one step that are searched apart
const ZOOMS = 3u;  // steps of steps, before the whole row is searched digit by digit
const REACH = 16.0;  // temperatures below the largest logit that the first steps span; the last takes all below
const BLOCKS = 32u;  // that a lane's run of tokens is summed in

var<workgroup> partial: array<f32, WG>;
var<workgroup> partial_index: array<u32, WG>;
var<workgroup> scratch: array<f32, SCRATCH>;  // bins or blocks of every lane
var<workgroup> listed: array<f32, LISTED>;  // a part for each lane
var<workgroup> list_fits: u32;

// A step of the histogram, and what the tokens above it hold.
struct Step { bin: u32, above: f32, wanted: f32 }
var<workgroup> found_step: Step;

// What to look for: tokens of floor_key and above, taken from the largest down until they hold `wanted`: so many of them
// by_count, else this share of their probability.
struct Search { row: Row, peak: f32, wanted: f32, floor_key: u32, by_count: bool }

fn mul_hi(a: u32, b: u32) -> u32 {
  let middle = (a >> 16u) * (b & 0xffffu) + (((a & 0xffffu) * (b & 0xffffu)) >> 16u);
  let cross = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (middle >> 16u) + (cross >> 16u);
}

fn philox_uniform(counter: vec4u, key: vec2u) -> f32 {
  var c = counter;
  var k = key;
  for (var round = 0; round < 10; round++) {
    c = vec4u(mul_hi(0xcd9e8d57u, c.z) ^ c.y ^ k.x, 0xcd9e8d57u * c.z, mul_hi(0xd2511f53u, c.x) ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return f32(c.x >> 8u) * 0x1p-24;
}

// Integers in the order of the floats; -0 and 0 are equal there too.
fn order_key(x: f32) -> u32 {
  let bits = select(bitcast<u32>(x), 0u, x == 0.0);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

// Where a row's logits and its bits of `seen` begin.
struct Row { logits: u32, seen: u32 }

fn logit_at(row: Row, v: u32) -> f32 {
  let x = logits[row.logits + v];
  if (PENALTY) {
    if ((seen[row.seen + v / 32u] & (1u << (v % 32u))) != 0u) {
      return select(x / params.repetition_penalty, x * params.repetition_penalty, x < 0.0);
    }
  }
  return x;
}

// Largest logit of the row and the first place where it stands.
fn best_token(lane: u32, row: Row) -> u32 {
  var best = lane;
  var most = LOWEST;
  for (var v = lane; v < params.vocab; v += WG) {
    let x = logit_at(row, v);
    if (x > most) { most = x; best = v; }
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

fn weight_of(x: f32, peak: f32) -> f32 { return exp((x - peak) / params.temperature); }

fn held_by(x: f32, search: Search) -> f32 {
  if (search.by_count) { return 1.0; }
  return weight_of(x, search.peak);
}

// A histogram of logits: its first bin begins `offset` bins below the largest logit.
struct Steps { scale: f32, offset: f32, is_first: bool }

// Place of a logit, in bins; falls as the logit grows, rounded alike for all, so no two tokens change their order.
fn place_of(x: f32, peak: f32, steps: Steps) -> f32 {
  let place = (peak - x) * steps.scale - steps.offset;
  return select(place, min(place, f32(SCRATCH / WG) - 1.0), steps.is_first);
}

// Histogram of the tokens whose place is on it, every lane in bins of its own, and the bin at which they hold what is wanted.
fn step_holding(lane: u32, search: Search, steps: Steps, above: f32, wanted: f32) {
  let bins = SCRATCH / WG;
  for (var at = lane * bins; at < (lane + 1u) * bins; at++) { scratch[at] = 0.0; }
  for (var v = lane; v < params.vocab; v += WG) {
    let x = logit_at(search.row, v);
    let place = place_of(x, search.peak, steps);
    if (place >= 0.0 && place < f32(bins) && order_key(x) >= search.floor_key) {
      scratch[lane * bins + u32(place)] += held_by(x, search);
    }
  }
  workgroupBarrier();
  for (var bin = lane; bin < bins; bin += WG) {
    var sum = 0.0;
    for (var other = 0u; other < WG; other++) { sum += scratch[other * bins + bin]; }
    scratch[bin] = sum;
  }
  workgroupBarrier();
  if (lane == 0u) {
    var step = Step(0u, above, wanted);
    if (steps.is_first && !search.by_count) {
      var total = 0.0;
      for (var bin = 0u; bin < bins; bin++) { total += scratch[bins - 1u - bin]; }
      step.wanted = wanted * total;
    }
    while (step.bin < bins - 1u && step.above + scratch[step.bin] < step.wanted) {
      step.above += scratch[step.bin];
      step.bin++;
    }
    found_step = step;
  }
}

// Puts the tokens of a bin (of the whole row where it is short) into `listed`. @returns how many are this lane's
fn list_step(lane: u32, search: Search, steps: Steps, bin: u32) -> u32 {
  let room = LISTED / WG;
  var count = 0u;
  for (var v = lane; v < params.vocab; v += WG) {
    let x = logit_at(search.row, v);
    let is_in = params.vocab <= LISTED || floor(place_of(x, search.peak, steps)) == f32(bin);
    if (is_in && order_key(x) >= search.floor_key) {
      if (count < room) { listed[lane * room + count] = x; }
      count++;
    }
  }
  partial_index[lane] = count;
  workgroupBarrier();
  if (lane == 0u) {
    var most = 0u;
    for (var other = 0u; other < WG; other++) { most = max(most, partial_index[other]); }
    list_fits = select(0u, 1u, most > 0u && most <= room);
  }
  return count;
}

// The key of the last token taken among those listed, or among all. Four bits of it a round: every lane sums its tokens of
// the 16 continuations in bins of its own, in order, and these sums are added lane by lane.
fn last_key(lane: u32, search: Search, from_list: bool, listed_count: u32, begin: Step, has_wanted: bool) -> u32 {
  var step = begin;
  var prefix = 0u;
  let count = select((params.vocab + WG - 1u - lane) / WG, listed_count, from_list);
  for (var round = 0u; round < 8u; round++) {
    let shift = 28u - 4u * round;
    for (var at = lane * 17u; at < lane * 17u + 16u; at++) { scratch[at] = 0.0; }
    for (var i = 0u; i < count; i++) {
      var x = 0.0;
      if (from_list) { x = listed[lane * (LISTED / WG) + i]; } else { x = logit_at(search.row, lane + i * WG); }
      let key = order_key(x);
      // In two shifts, since WGSL has none by 32.
      if (key >= search.floor_key && ((key >> shift) >> 4u) == prefix) {
        scratch[lane * 17u + ((key >> shift) & 15u)] += held_by(x, search);
      }
    }
    workgroupBarrier();
    for (var digit = lane; digit < 16u; digit += WG) {
      var sum = 0.0;
      for (var other = 0u; other < WG; other++) { sum += scratch[other * 17u + digit]; }
      scratch[digit] = sum;
    }
    workgroupBarrier();
    if (round == 0u && !search.by_count && !has_wanted) {
      var total = 0.0;
      for (var digit = 0u; digit < 16u; digit++) { total += scratch[15u - digit]; }
      step.wanted = search.wanted * total;
    }
    var digit = 15u;
    while (digit > 0u && step.above + scratch[digit] < step.wanted) {
      step.above += scratch[digit];
      digit--;
    }
    prefix = (prefix << 4u) | digit;
    workgroupBarrier();
  }
  return prefix;
}

// The smallest key listed: sums in another order may ask for a little more than the list holds.
fn least_key(lane: u32, count: u32) -> u32 {
  var least = 0xffffffffu;
  for (var i = 0u; i < count; i++) { least = min(least, order_key(listed[lane * (LISTED / WG) + i])); }
  partial_index[lane] = least;
  workgroupBarrier();
  for (var other = 0u; other < WG; other++) { least = min(least, partial_index[other]); }
  workgroupBarrier();
  return least;
}

// The key of the last token that is taken. Few calls of anything large: compilers put each in its place.
fn last_key_holding(lane: u32, search: Search) -> u32 {
  let is_short = params.vocab <= LISTED;
  var step = Step(0u, 0.0, search.wanted);
  let bins = f32(SCRATCH / WG);
  var steps = Steps(bins / (REACH * params.temperature), 0.0, true);
  var count = 0u;
  var is_listed = false;
  for (var zoom = 0u; zoom < ZOOMS; zoom++) {
    if (!is_short) {
      step_holding(lane, search, steps, step.above, step.wanted);
      step = workgroupUniformLoad(&found_step);
    }
    count = list_step(lane, search, steps, step.bin);
    is_listed = workgroupUniformLoad(&list_fits) == 1u;
    if (is_listed) { break; }
    steps = Steps(steps.scale * bins, (steps.offset + f32(step.bin)) * bins, false);
  }
  if (!is_listed) { step = Step(0u, 0.0, search.wanted); }
  let key = last_key(lane, search, is_listed, count, step, is_listed && !is_short);
  if (!is_listed) { return key; }
  return max(key, least_key(lane, count));
}

fn kept_from(lane: u32, row: Row, peak: f32) -> u32 {
  var floor_key = 0u;
  for (var round = 0u; round < 2u; round++) {
    let by_count = round == 0u;
    let is_on = select((params.top_p < 1.0), (params.top_k > 0u && params.top_k < params.vocab), by_count);
    let wanted = select(params.top_p, f32(params.top_k), by_count);
    if (is_on) { floor_key = max(floor_key, last_key_holding(lane, Search(row, peak, wanted, floor_key, by_count))); }
  }
  return max(floor_key, order_key(peak + params.min_p_gap));
}

// Each lane sums a run of tokens, in blocks; the lane whose run holds the wanted finds the block and in that the token.
fn draw(lane: u32, row: Row, peak: f32, floor_key: u32, u: f32, fallback: u32) -> u32 {
  let block = (params.vocab + WG * BLOCKS - 1u) / (WG * BLOCKS);
  let begin = min(lane * BLOCKS * block, params.vocab);
  let end = min(begin + BLOCKS * block, params.vocab);
  var mass = 0.0;
  var v = begin;
  for (var b = 0u; b < BLOCKS; b++) {
    var sum = 0.0;
    for (let stop = min(v + block, end); v < stop; v++) {
      let x = logit_at(row, v);
      if (!FILTER || order_key(x) >= floor_key) { sum += weight_of(x, peak); }
    }
    scratch[lane * BLOCKS + b] = sum;
    mass += sum;
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
  if (mass > 0.0 && before <= wanted && wanted < before + mass) {
    partial_index[0] = token_in_run(lane, row, peak, floor_key, wanted, before, fallback);
  }
  workgroupBarrier();
  return partial_index[0];
}

// The first token of the lane's run at which the sum, `before` ahead of it, exceeds what is wanted.
fn token_in_run(lane: u32, row: Row, peak: f32, floor_key: u32, wanted: f32, before: f32, fallback: u32) -> u32 {
  let block = (params.vocab + WG * BLOCKS - 1u) / (WG * BLOCKS);
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
    if (!FILTER || order_key(x) >= floor_key) {
      running += weight_of(x, peak);
      chosen = v;
      if (wanted < running) { break; }
    }
  }
  return chosen;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let r = group.x + group.y * groups.x;
  if (r >= params.rows) { return; }
  let counters = rows[r];
  let row = Row(u32(counters.x) * params.vocab, r * ((params.vocab + 31u) / 32u));
  let slot = u32(state[0] + 1);
  let best = best_token(lane, row);
  var chosen = best;
  if (params.temperature > 0.0) {
    let peak = logit_at(row, best);
    var floor_key = 0u;
    if (FILTER) { floor_key = kept_from(lane, row, peak); }
    let u = philox_uniform(vec4u(u32(counters.y), u32(counters.z), slot, 0u), vec2u(u32(state[1]), u32(state[2])));
    chosen = draw(lane, row, peak, floor_key, u, best);
  }
  if (PENALTY) { storageBarrier(); }  // all lanes have read `seen`
  if (lane == 0u) {
    let ended = done[r] != 0;
    if (slot < params.columns) { tokens[r * params.columns + slot] = select(i32(chosen), -1, ended); }
    for (var e = 0; e < state[3]; e++) {
      if (i32(chosen) == state[4 + e]) { done[r] = 1; }
    }
    if (PENALTY) { seen[row.seen + chosen / 32u] |= 1u << (chosen % 32u); }
    next[r] = i32(chosen);
    next_position[r] = counters.w + i32(slot);
  }
}
