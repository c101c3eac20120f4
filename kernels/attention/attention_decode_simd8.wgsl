// attention_decode_simd8: attention_decode of whole rows for subgroups of 8 lanes. The same sums, the same bits.
//   o[r,h] = sum_t p[t] v[t] / sum_t p[t];   t, g and SOFTCAP as in attention_decode.wgsl
// Shapes    as attention_decode.wgsl, WHOLE
// Dispatch  a workgroup is one subgroup, for a row and HEADS query heads that share a key head: R*H/HEADS workgroups,
//           folded to 2-D past 65535
// Numerics  f32, in the order of training's attention (lib/softmax_powers.wgsl)
// Why       For software GPUs, where a lane loads a value at a time and workgroup memory is slow: 8 lanes make the
//           scores of 8 keys, then each its columns of the sums. A key and a value that are loaded meet HEADS queries;
//           wide heads go by TURN vectors at a time, so that it compiles quickly
// Twin      src/ops/attention/attention_decode.ts#attentionDecodeF64     Gradient: none
import package::lib::attention_decode::{VECTORS, k_pool, params, positions, q, seen_tokens, splits_of, tokens_of_split};
import package::lib::attention_decode::{unknown_zero, v_pool};
import package::lib::blocks::{slot_at, table};
import package::lib::broadcast8::of_all_lanes;
import package::lib::grid::{Fold, group_number};
import package::lib::softcap::capped;
import package::lib::softmax_powers::{LEAST, must_rise, part_of, power, whole_of};
import package::lib::weight::{FORMAT, quad_of, value_of, values4};
enable subgroups;

override HEADS: u32;    // divides H/G
override TURN: u32;     // vectors of a key at once, a part of VECTORS
override COLUMNS: u32;  // of a lane: ceil(4*VECTORS/8)
@if(WIDE) const MOST_VECTORS = 64u;  // HEADS*VECTORS
@else const MOST_VECTORS = 32u;

@group(0) @binding(6) var<storage, read_write> o: array<f32>;

fn value_at(i: u32) -> f32 { return value_of(v_pool[select(i / 2u, i, FORMAT == 0u)], i, FORMAT); }

fn total(x: vec4f) -> f32 { return (x.x + x.y) + (x.z + x.w); }

// One value of each lane, for all.
@diagnostic(off, subgroup_uniformity) fn of_lanes(x: f32) -> array<f32, 8> {
  return array<f32, 8>(
    subgroupBroadcast(x, 0u),
    subgroupBroadcast(x, 1u),
    subgroupBroadcast(x, 2u),
    subgroupBroadcast(x, 3u),
    subgroupBroadcast(x, 4u),
    subgroupBroadcast(x, 5u),
    subgroupBroadcast(x, 6u),
    subgroupBroadcast(x, 7u),
  );
}

@diagnostic(off, subgroup_uniformity) fn indices_of_lanes(x: u32) -> array<u32, 8> {
  return array<u32, 8>(
    subgroupBroadcast(x, 0u),
    subgroupBroadcast(x, 1u),
    subgroupBroadcast(x, 2u),
    subgroupBroadcast(x, 3u),
    subgroupBroadcast(x, 4u),
    subgroupBroadcast(x, 5u),
    subgroupBroadcast(x, 6u),
    subgroupBroadcast(x, 7u),
  );
}

@diagnostic(off, subgroup_uniformity) @compute @workgroup_size(8)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let index = group_number(fold);
  if (index * HEADS >= params.rows * params.heads) { return; }
  let row = index * HEADS / params.heads;
  let kv_head = index * HEADS % params.heads / (params.heads / params.kv_heads);
  let width = VECTORS * 4u;
  let outputs = HEADS * VECTORS;
  let seen = seen_tokens(row);
  if (seen.x >= seen.y) {
    for (var x = lane; x < outputs * 4u; x += 8u) { o[index * outputs * 4u + x] = 0.0; }
    return;
  }
  let entry = row * params.columns;
  let start = u32(table[entry]);

  var query: array<vec4f, MOST_VECTORS>;
  for (var x = 0u; x < outputs; x += 8u) {
    let all = of_all_lanes(q[index * outputs + min(x + lane, outputs - 1u)] * params.scale);
    for (var n = 0u; n < 8u; n++) { query[x + n] = all[n]; }
  }
  // By head: of the lane's columns of the open split.
  var sum: array<f32, MOST_VECTORS>;
  var most: array<f32, 8>;
  var weight: array<f32, 8>;
  var all_most: array<f32, 8>;
  var all_weight: array<f32, 8>;
  for (var h = 0u; h < HEADS; h++) { most[h] = LEAST; }
  let splits = splits_of(seen);
  for (var s = 0u; s < splits; s++) {
    let tokens = tokens_of_split(seen, s);
    for (var x = 0u; x < HEADS * COLUMNS; x++) { sum[x] = 0.0; }
    for (var h = 0u; h < HEADS; h++) { weight[h] = 0.0; }
    for (var t = tokens.x; t < tokens.y; t += 8u) {
      let is_seen = t + lane < tokens.y;
      let slot = slot_at(entry, start + min(t + lane, tokens.y - 1u), params.block_shift);
      let base = (slot * params.kv_heads + kv_head) * VECTORS;
      var dots: array<vec4f, 8>;
      for (var h = 0u; h < HEADS; h++) { dots[h] = vec4f(unknown_zero()); }
      for (var b = 0u; b < VECTORS; b += TURN) {
        for (var i = 0u; i < TURN; i++) {
          let key = values4(k_pool[quad_of(base + b + i)], base + b + i);
          for (var h = 0u; h < HEADS; h++) { dots[h] = fma(query[h * VECTORS + b + i], key, dots[h]); }
        }
      }
      let bases = indices_of_lanes(base * 4u);
      var p: array<array<f32, 8>, 8>;
      for (var h = 0u; h < HEADS; h++) {
        @if(SOFTCAP) let score = capped(total(dots[h]), params.softcap);
        @else let score = total(dots[h]);
        let whole = whole_of(score);
        let part = part_of(score, whole);
        let highest = subgroupMax(select(LEAST, whole, is_seen));
        if (must_rise(most[h], highest)) {
          let keep = power(most[h] - highest);
          most[h] = highest;
          weight[h] *= keep;
          for (var i = 0u; i < COLUMNS; i++) { sum[h * COLUMNS + i] *= keep; }
        }
        p[h] = of_lanes(select(0.0, part * power(whole - most[h]), is_seen));
        for (var n = 0u; n < 8u; n++) { weight[h] += p[h][n]; }
      }
      for (var i = 0u; i < COLUMNS; i++) {
        let column = min(lane + 8u * i, width - 1u);
        for (var n = 0u; n < 8u; n++) {
          let value = value_at(bases[n] + column);
          for (var h = 0u; h < HEADS; h++) {
            sum[h * COLUMNS + i] = fma(value, p[h][n], sum[h * COLUMNS + i]);
          }
        }
      }
    }
    // What ended before lies in o.
    for (var h = 0u; h < HEADS; h++) {
      let keep = power(all_most[h] - most[h]);
      all_weight[h] = select(fma(all_weight[h], keep, weight[h]), weight[h], s == 0u);
      all_most[h] = most[h];
      for (var i = 0u; i < COLUMNS; i++) {
        let column = lane + 8u * i;
        if (column < width) {
          let at = (index * HEADS + h) * width + column;
          var x = sum[h * COLUMNS + i];
          if (s > 0u) { x = fma(o[at], keep, x); }
          o[at] = select(x, x / all_weight[h], s + 1u == splits);
        }
      }
    }
  }
}
