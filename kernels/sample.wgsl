// sample: draws one token a row, and keeps the books of generation.
//   p[v] ~ exp(logits[v] / temperature) over the kept tokens: the top_k largest, of those the fewest that hold
//   top_p of the probability (ties with the last one kept), then the first v whose running sum exceeds u * total.
//   u = philox(key = (seed, step), counter = (prompt, generation, position, 0)): src/rl/rng.ts#uniform01
//   temperature 0: the largest logit, the first of equals.
// Shapes    logits f32 [L,V]; rows i32 [R,4]: logits row, prompt, generation, prompt length; state i32 [4]: slot of
//           the last token (-1 before the first), seed, step, unused; in and out done i32 [R]; out next i32 [R] and
//           next_position i32 [R] for the coming forward, tokens i32 [R,T] at column slot + 1 (-1 once done)
// Dispatch  one workgroup per row: (R,1,1), folded to 2-D past 65535
// Numerics  f32; threshold found bit by bit on order-preserving integer keys; running sums in token order
// Twin      src/ops/sample.ts#sampleF64
override WG: u32 = 64u;  // power of two
override FILTER: bool = false;  // top_k or top_p is on

struct Params { rows: u32, vocab: u32, columns: u32, top_k: u32, temperature: f32, top_p: f32, eos: vec2i }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> rows: array<vec4i>;
@group(0) @binding(2) var<storage, read> state: array<i32>;
@group(0) @binding(3) var<storage, read_write> done: array<i32>;
@group(0) @binding(4) var<storage, read_write> next: array<i32>;
@group(0) @binding(5) var<storage, read_write> next_position: array<i32>;
@group(0) @binding(6) var<storage, read_write> tokens: array<i32>;
@group(0) @binding(7) var<uniform> params: Params;

var<workgroup> partial: array<f32, WG>;
var<workgroup> partial_index: array<u32, WG>;
var<workgroup> shared_value: f32;

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

// Integers in the order of the floats.
fn order_key(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

// Sum over lanes in fixed order, the same value in every lane.
fn sum_lanes(lane: u32, value: f32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  let total = workgroupUniformLoad(&partial[0]);
  workgroupBarrier();
  return total;
}

// Largest logit of the row and the first place where it stands.
fn best_token(lane: u32, base: u32) -> u32 {
  var best = 0u;
  var best_key = 0u;
  for (var v = lane; v < params.vocab; v += WG) {
    let key = order_key(logits[base + v]);
    if (key > best_key) { best_key = key; best = v; }
  }
  partial_index[lane] = best;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      let mine = partial_index[lane];
      let other = partial_index[lane + half];
      let difference = logits[base + other] - logits[base + mine];
      if (difference > 0.0 || (difference == 0.0 && other < mine)) { partial_index[lane] = other; }
    }
    workgroupBarrier();
  }
  let winner = workgroupUniformLoad(&partial_index[0]);
  workgroupBarrier();
  return winner;
}

// Weight of the tokens whose key is at least `threshold`: their number, or their probability mass.
fn mass_above(lane: u32, base: u32, peak: f32, threshold: u32, floor_key: u32, by_count: bool) -> f32 {
  var mass = 0.0;
  for (var v = lane; v < params.vocab; v += WG) {
    let key = order_key(logits[base + v]);
    if (key >= threshold && key >= floor_key) {
      mass += select(exp((logits[base + v] - peak) / params.temperature), 1.0, by_count);
    }
  }
  return sum_lanes(lane, mass);
}

// The largest key whose mass_above still reaches `wanted`.
fn highest_key_holding(lane: u32, base: u32, peak: f32, wanted: f32, floor_key: u32, by_count: bool) -> u32 {
  var threshold = 0u;
  for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
    let mass = mass_above(lane, base, peak, threshold | bit, floor_key, by_count);
    if (mass >= wanted) { threshold |= bit; }
  }
  return threshold;
}

fn kept_from(lane: u32, base: u32, peak: f32) -> u32 {
  var floor_key = 0u;
  if (params.top_k > 0u && params.top_k < params.vocab) {
    floor_key = highest_key_holding(lane, base, peak, f32(params.top_k), 0u, true);
  }
  if (params.top_p < 1.0) {
    let total = mass_above(lane, base, peak, 0u, floor_key, false);
    floor_key = max(floor_key, highest_key_holding(lane, base, peak, params.top_p * total, floor_key, false));
  }
  return floor_key;
}

// Each lane sums a run of tokens, the first lane finds the run that holds the wanted, that lane finds the token.
fn draw(lane: u32, base: u32, peak: f32, floor_key: u32, u: f32, fallback: u32) -> u32 {
  let run = (params.vocab + WG - 1u) / WG;
  let begin = lane * run;
  let end = min(begin + run, params.vocab);
  var mass = 0.0;
  for (var v = begin; v < end; v++) {
    if (!FILTER || order_key(logits[base + v]) >= floor_key) { mass += exp((logits[base + v] - peak) / params.temperature); }
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
      if (!FILTER || order_key(logits[base + v]) >= floor_key) {
        running += exp((logits[base + v] - peak) / params.temperature);
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
  let row = rows[r];
  let base = u32(row.x) * params.vocab;
  let slot = u32(state[0] + 1);
  let best = best_token(lane, base);
  var chosen = best;
  if (params.temperature > 0.0) {
    let peak = logits[base + best];
    var floor_key = 0u;
    if (FILTER) { floor_key = kept_from(lane, base, peak); }
    let u = philox_uniform(vec4u(u32(row.y), u32(row.z), slot, 0u), vec2u(u32(state[1]), u32(state[2])));
    chosen = draw(lane, base, peak, floor_key, u, best);
  }
  if (lane == 0u) {
    let ended = done[r] != 0;
    if (slot < params.columns) { tokens[r * params.columns + slot] = select(i32(chosen), -1, ended); }
    if (i32(chosen) == params.eos.x || i32(chosen) == params.eos.y) { done[r] = 1; }
    next[r] = i32(chosen);
    next_position[r] = row.w + i32(slot);
  }
}
