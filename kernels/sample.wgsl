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
// Numerics  f32; threshold found digit by digit on order-preserving integer keys; every sum in an order of its own row
// Twin      src/ops/sample.ts#sampleF64
override WG: u32 = 64u;  // power of two
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

var<workgroup> partial: array<f32, WG>;
var<workgroup> partial_index: array<u32, WG>;
var<workgroup> bins: array<array<f32, 17>, WG>;  // 16 and one more: lanes side by side then use different banks
var<workgroup> bin_sums: array<f32, 16>;

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
  var best = 0u;
  var best_key = 0u;
  for (var v = lane; v < params.vocab; v += WG) {
    let key = order_key(logit_at(row, v));
    if (key > best_key) { best_key = key; best = v; }
  }
  partial_index[lane] = best;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      let mine = partial_index[lane];
      let other = partial_index[lane + half];
      let difference = logit_at(row, other) - logit_at(row, mine);
      if (difference > 0.0 || (difference == 0.0 && other < mine)) { partial_index[lane] = other; }
    }
    workgroupBarrier();
  }
  let winner = workgroupUniformLoad(&partial_index[0]);
  workgroupBarrier();
  return winner;
}

// The key of the last token kept when tokens of floor_key and above are taken from the largest down until they hold
// `wanted`: so many of them by_count, else this share of their probability. Four bits of it a round: every lane sums its
// tokens of the 16 continuations in bins of its own, in order, and these sums are added lane by lane.
fn last_key_holding(lane: u32, row: Row, peak: f32, wanted: f32, floor_key: u32, by_count: bool) -> u32 {
  var prefix = 0u;
  var above = 0.0;  // held by larger prefixes
  var target_mass = wanted;
  for (var round = 0u; round < 8u; round++) {
    let shift = 28u - 4u * round;
    for (var digit = 0u; digit < 16u; digit++) { bins[lane][digit] = 0.0; }
    for (var v = lane; v < params.vocab; v += WG) {
      let x = logit_at(row, v);
      let key = order_key(x);
      // In two shifts, since WGSL has none by 32.
      if (key >= floor_key && ((key >> shift) >> 4u) == prefix) {
        bins[lane][(key >> shift) & 15u] += select(exp((x - peak) / params.temperature), 1.0, by_count);
      }
    }
    workgroupBarrier();
    if (lane < 16u) {
      var sum = 0.0;
      for (var other = 0u; other < WG; other++) { sum += bins[other][lane]; }
      bin_sums[lane] = sum;
    }
    workgroupBarrier();
    if (round == 0u && !by_count) {
      var total = 0.0;
      for (var digit = 0u; digit < 16u; digit++) { total += bin_sums[15u - digit]; }
      target_mass = wanted * total;
    }
    var digit = 15u;
    while (digit > 0u && above + bin_sums[digit] < target_mass) {
      above += bin_sums[digit];
      digit--;
    }
    prefix = (prefix << 4u) | digit;
  }
  return prefix;
}

fn kept_from(lane: u32, row: Row, peak: f32) -> u32 {
  var floor_key = 0u;
  if (params.top_k > 0u && params.top_k < params.vocab) {
    floor_key = last_key_holding(lane, row, peak, f32(params.top_k), 0u, true);
  }
  if (params.top_p < 1.0) {
    floor_key = max(floor_key, last_key_holding(lane, row, peak, params.top_p, floor_key, false));
  }
  return max(floor_key, order_key(peak + params.min_p_gap));
}

// Each lane sums a run of tokens, the first lane finds the run that holds the wanted, that lane finds the token.
fn draw(lane: u32, row: Row, peak: f32, floor_key: u32, u: f32, fallback: u32) -> u32 {
  let run = (params.vocab + WG - 1u) / WG;
  let begin = lane * run;
  let end = min(begin + run, params.vocab);
  var mass = 0.0;
  for (var v = begin; v < end; v++) {
    if (!FILTER || order_key(logit_at(row, v)) >= floor_key) { mass += exp((logit_at(row, v) - peak) / params.temperature); }
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
    var running = before;
    var chosen = fallback;
    for (var v = begin; v < end; v++) {
      if (!FILTER || order_key(logit_at(row, v)) >= floor_key) {
        running += exp((logit_at(row, v) - peak) / params.temperature);
        chosen = v;
        if (wanted < running) { break; }
      }
    }
    partial_index[0] = chosen;
  }
  workgroupBarrier();
  return partial_index[0];
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
