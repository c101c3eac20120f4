// attention_decode: attention of one new token per row over its prompt and its own completion so far.
//   o[r,h] = sum_t p[t] v[t] / sum_t p[t],   p[t] = exp(scale q[r,h].k[t] - max),   g = h / (H/G), the key head
//   t = max(0, positions[r] + 1 - window) .. positions[r], in the blocks of row r (lib/blocks.wgsl)
//   o[r] = 0 when table[r,0] is negative.   SOFTCAP: softcap tanh(scale q.k / softcap) for scale q.k
// Shapes    q f32 [R,H*D]; k_pool, v_pool [blocks,B,G*D] in FORMAT; table i32 [R,C]; positions i32 [R]; out o f32
//           [R,H*D]; D = 4*VECTORS <= 256, HEADS*OWN <= 32, WIDE 64, B = 2^block_shift
// Dispatch  one workgroup per row and HEADS query heads that share a key head: R*H/HEADS workgroups, folded to 2-D past
//           65535. Lengths and blocks are read on the GPU, so a recorded plan can replay this while they change
// Numerics  f32. The row's tokens are dealt to S = LANES/PER_KEY slices in turn, beginning with the first that is seen.
//           A slice takes its own in order with a running maximum, then the slices are added in order: bits depend on
//           the row's own tokens only
// Why       A slice is PER_KEY neighbouring lanes. On a GPU several, which read a key together. On a CPU one: there a
//           lane loads a value at a time and a barrier costs as much as ten loads, so no lanes meet before the end, and
//           a key that is loaded meets HEADS queries. Wide heads go by TURN vectors for TILE keys at once: so
//           that it compiles quickly
// SIMD8     of the same bits, for software GPUs, whose subgroups are 8 wide: a workgroup is one subgroup. The lanes'
//           sums meet without workgroup memory, and a query is loaded once by all lanes, not by each
// Twin      src/ops/attention/attention_decode.ts#attentionDecodeF64     Gradient: none
import package::lib::blocks::{slot_at, table};
import package::lib::broadcast8::of_all_lanes;
import package::lib::grid::{Fold, group_number};
import package::lib::running_softmax::{LEAST, meet};
import package::lib::softcap::capped;
import package::lib::weight::{FORMAT, values4};
@if(SIMD8) enable subgroups;

@if(SIMD8) const LANES = 8u;
@else override LANES: u32;
@if(SIMD8) const PER_KEY = 1u;
@else override PER_KEY: u32;  // lanes of a slice
override VECTORS: u32;  // of a head
override HEADS: u32;    // divides H/G
override TILE: u32;     // keys that a slice takes at once: 1, 2 or 4, HEADS*TILE <= 16
override TURN: u32;     // vectors at once: OWN, or a part of it where it is large
override OWN: u32 = VECTORS / PER_KEY;  // vectors of a head that a lane holds
@if(!SIMD8) override PARTIALS: u32;  // LANES*HEADS*OWN
@if(WIDE) const MOST_VECTORS = 64u;  // HEADS*OWN
@else const MOST_VECTORS = 32u;

struct Params {
  rows: u32,
  heads: u32,
  kv_heads: u32,
  columns: u32,
  scale: f32,
  block_shift: u32,
  turns: u32,
  window: u32,  // tokens that are seen, the last ones
  @if(SOFTCAP) softcap: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(2) var<storage, read> q: array<vec4f>;
@group(0) @binding(3) var<storage, read> k_pool: array<vec4u>;
@group(0) @binding(4) var<storage, read> v_pool: array<vec4u>;
@group(0) @binding(5) var<storage, read> positions: array<i32>;

@if(!SIMD8) var<workgroup> parts: array<f32, LANES * HEADS * TILE * 2u>;  // of dot products, for two rounds in turn
// Maxima of the row, as words of the same order; 0 is below all.
@if(!SIMD8) var<workgroup> largest: array<atomic<u32>, HEADS>;
@if(!SIMD8) var<workgroup> slice_weight: array<f32, LANES * HEADS>;
@if(!SIMD8) var<workgroup> slice_sum: array<vec4f, PARTIALS>;

// Vectors start .. start + TURN - 1 of a pool, 16 bits wide, lie two to an aligned quad of words where their number is
// even: then the compiler knows which lie together.
fn quad_of(start: u32, i: u32) -> u32 {
  if (FORMAT == 0u) { return start + i; }
  return select((start + i) / 2u, start / 2u + i / 2u, TURN % 2u == 0u);
}

fn vector_of(quad: vec4u, start: u32, i: u32) -> vec4f {
  return values4(quad, select(start + i, i, TURN % 2u == 0u));
}

// f32 as a word: larger is larger.
fn ordered(x: f32) -> u32 {
  let word = bitcast<u32>(x);
  return select(word | 0x80000000u, ~word, word >= 0x80000000u);
}

fn from_ordered(word: u32) -> f32 {
  return bitcast<f32>(select(~word, word & 0x7fffffffu, word >= 0x80000000u));
}

// The sum over the lanes of a subgroup, in order.
@if(SIMD8) fn in_order(x: vec4f) -> vec4f {
  let all = of_all_lanes(x);
  var sum = all[0];
  for (var n = 1u; n < 8u; n++) { sum += all[n]; }
  return sum;
}

@compute @workgroup_size(LANES)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let index = group_number(fold);
  if (index * HEADS >= params.rows * params.heads) { return; }
  let row = index * HEADS / params.heads;
  let first_head = index * HEADS % params.heads;
  let kv_head = first_head / (params.heads / params.kv_heads);
  let entry = row * params.columns;
  let outputs = HEADS * VECTORS;
  if (table[entry] < 0) {
    for (var j = lane; j < outputs; j += LANES) { o[index * outputs + j] = vec4f(); }
    return;
  }
  let start = u32(table[entry]);
  let held = min(u32(positions[row] + 1), ((params.columns - 1u) << params.block_shift) - start);
  let total = min(held, params.window);
  let offset = start + held - total;  // place of the first token that is seen
  let slices = LANES / PER_KEY;
  let slice = lane / PER_KEY;
  let first = lane % PER_KEY * OWN;  // of the vectors that are this lane's
  let turns = select(params.turns, 1u, TURN == OWN);  // known to the compiler where it is to unroll all

  var query: array<vec4f, MOST_VECTORS>;
  var sum: array<vec4f, MOST_VECTORS>;
  var most: array<f32, 16>;
  var weight: array<f32, 16>;
  for (var h = 0u; h < HEADS; h++) { most[h] = LEAST; }
  @if(SIMD8) {
    for (var x = 0u; x < outputs; x += 8u) {
      let all = of_all_lanes(q[index * outputs + min(x + lane, outputs - 1u)] * params.scale);
      for (var n = 0u; n < 8u; n++) { query[x + n] = all[n]; }
    }
  }
  @else {
    for (var h = 0u; h < HEADS; h++) {
      for (var b = 0u; b < turns; b++) {
        for (var i = 0u; i < TURN; i++) {
          let c = b * TURN + i;
          query[h * OWN + c] = q[(index * HEADS + h) * VECTORS + first + c] * params.scale;
          sum[h * OWN + c] = vec4f();
        }
      }
    }
  }
  var round = 0u;
  for (var chunk = 0u; chunk < total; chunk += slices * TILE) {
    let token = chunk + slice;  // the first of this slice's TILE
    var bases = array<u32, 4>();
    var dots = array<vec4f, 16>();
    if (token < total) {
      for (var n = 0u; n < TILE; n++) {
        let slot = slot_at(entry, offset + min(token + n * slices, total - 1u), params.block_shift);
        bases[n] = (slot * params.kv_heads + kv_head) * VECTORS + first;
      }
      for (var b = 0u; b < turns; b++) {
        for (var n = 0u; n < TILE; n++) {
          if (TILE == 1u || token + n * slices < total) {
            let start = bases[n] + b * TURN;
            for (var i = 0u; i < TURN; i++) {
              let key = vector_of(k_pool[quad_of(start, i)], start, i);
              for (var h = 0u; h < HEADS; h++) {
                dots[h * TILE + n] = fma(query[h * OWN + b * TURN + i], key, dots[h * TILE + n]);
              }
            }
          }
        }
      }
    }
    @if(!SIMD8) {
      if (PER_KEY > 1u) {
        for (var x = 0u; x < HEADS * TILE; x++) {
          parts[(round * HEADS * TILE + x) * LANES + lane] = (dots[x].x + dots[x].y) + (dots[x].z + dots[x].w);
        }
        workgroupBarrier();
        for (var x = 0u; x < HEADS * TILE; x++) {
          let neighbours = (round * HEADS * TILE + x) * LANES + slice * PER_KEY;
          dots[x] = vec4f();
          for (var n = 0u; n < PER_KEY; n++) { dots[x].x += parts[neighbours + n]; }
        }
        round = 1u - round;
      }
    }
    if (token < total) {
      var keep = array<f32, 16>();
      var p = array<f32, 16>();
      for (var x = 0u; x < HEADS * TILE; x++) {
        let h = x / TILE;
        let seen = TILE == 1u || token + x % TILE * slices < total;
        let dot = (dots[x].x + dots[x].y) + (dots[x].z + dots[x].w);
        @if(SOFTCAP) let score = capped(dot, params.softcap);
        @else let score = dot;
        let met = meet(most[h], score, seen);
        most[h] = met.most;
        weight[h] = fma(weight[h], met.keep, met.p);
        keep[x] = met.keep;
        p[x] = met.p;
      }
      for (var b = 0u; b < turns; b++) {
        var sums = array<vec4f, 32>();
        for (var x = 0u; x < HEADS * TURN; x++) { sums[x] = sum[x / TURN * OWN + b * TURN + x % TURN]; }
        for (var n = 0u; n < TILE; n++) {
          if (TILE == 1u || token + n * slices < total) {
            let start = bases[n] + b * TURN;
            for (var i = 0u; i < TURN; i++) {
              let value = vector_of(v_pool[quad_of(start, i)], start, i);
              for (var h = 0u; h < HEADS; h++) {
                sums[h * TURN + i] = fma(value, vec4f(p[h * TILE + n]), sums[h * TURN + i] * keep[h * TILE + n]);
              }
            }
          }
        }
        for (var x = 0u; x < HEADS * TURN; x++) { sum[x / TURN * OWN + b * TURN + x % TURN] = sums[x]; }
      }
    }
  }
  @if(SIMD8) {
    for (var h = 0u; h < HEADS; h++) {
      let keep = exp(most[h] - subgroupMax(most[h]));
      let all_weight = in_order(vec4f(weight[h] * keep)).x;
      for (var b = 0u; b < turns; b++) {
        for (var i = 0u; i < TURN; i++) {
          let c = b * TURN + i;
          let all = in_order(sum[h * VECTORS + c] * keep);
          if (lane == 0u) { o[(index * HEADS + h) * VECTORS + c] = all / all_weight; }
        }
      }
    }
  }
  @else {
    for (var h = 0u; h < HEADS; h++) { atomicMax(&largest[h], ordered(most[h])); }
    workgroupBarrier();
    for (var h = 0u; h < HEADS; h++) {
      let keep = exp(most[h] - from_ordered(atomicLoad(&largest[h])));
      slice_weight[slice * HEADS + h] = weight[h] * keep;
      for (var b = 0u; b < turns; b++) {
        for (var i = 0u; i < TURN; i++) {
          let c = b * TURN + i;
          slice_sum[slice * outputs + h * VECTORS + first + c] = sum[h * OWN + c] * keep;
        }
      }
    }
    workgroupBarrier();
    for (var j = lane; j < outputs; j += LANES) {
      var all = vec4f();
      var all_weight = 0.0;
      for (var s = 0u; s < slices; s++) {
        all += slice_sum[s * outputs + j];
        all_weight += slice_weight[s * HEADS + j / VECTORS];
      }
      o[index * outputs + j] = all / all_weight;
    }
  }
}
