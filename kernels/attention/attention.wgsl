// attention: causal softmax attention of packed sequences, without an [N,N] matrix.
//   o[i,h] = sum_j p[j] v[j,g] / sum_j p[j],   p[j] = exp(s[j] - m),   s[j] = scale q[i,h].k[j,g],   m = max_j s[j]
//   SOFTCAP: s[j] = softcap tanh(scale q[i,h].k[j,g] / softcap)
//   softmax[i,h] = (m, sum_j p[j]);   j = bounds[i].x .. i;   g = h / (H/G), the key head of query head h
//   Shared keys before a sequence's own take two runs, which add as one would. prefix: any rows of k and v,
//   j = bounds[i].x .. bounds[i].y - 1; o is left undivided. after_prefix: continues from its o and softmax
// Shapes    q f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; out o f32 [N,H*D], softmax f32 [N,H,2]; D = 4*vectors
// Dispatch  a lane takes 4 pairs (row, query head of a key head), counted row by row, and visits 4 keys at a time;
//           neighbour lanes take the key heads: ceil(ceil(N*(H/G)/4)*G/WG) workgroups, folded to 2-D
// Numerics  f32, keys strictly in order with a running maximum: a row's bits depend on its own sequence only. A key
//           that a row of the tile must not see gets weight 0 and no say in the maximum. All inputs must be finite
// Cost      no lane waits for another. A tile of 4 x 4 loads each value for 4 products; nothing is indexed at run time
//           but buffers (the sums lie in o), so that one pipeline serves every D
// Twin      src/ops/attention/attention_f64.ts#attentionF64     Gradient: attention_grad_*.wgsl
import package::lib::attention::{all_keys, k, o, params, q, softmax, v};
import package::lib::attention_splits::{Closed, closed_before, closed_with, ended, first_split, keep_closed};
import package::lib::attention_splits::{next_split, total_base, total_keep, with_total};
import package::lib::attention_tile::{four_from, kv_bases_of, own_pairs, totals, within};
import package::lib::grid::{Place, WG, lane_number};
import package::lib::softcap::capped_four;
import package::lib::softmax_powers::{LEAST, part_of_four, power_of_four, whole_of_four};

@compute @workgroup_size(WG)
fn main(place: Place) {
  let own = own_pairs(lane_number(place));
  if (own.first >= own.count) { return; }
  let slots = own.slots;
  let bases = slots * params.vectors;
  var most = vec4f(LEAST);
  var weights = vec4f();
  var closed = array<Closed, 4>();
  var next = vec4u();
  for (var r = 0u; r < 4u; r++) {
    if (params.after_prefix == 1u) {
      most[r] = softmax[slots[r]].x;
      weights[r] = softmax[slots[r]].y;
    } else {
      for (var c = 0u; c < params.vectors; c++) { o[bases[r] + c] = vec4f(); }
    }
    closed[r] = closed_before(slots[r]);
    next[r] = first_split(own.rows[r], vec2u(own.seen.begin[r], own.seen.end[r]));
  }
  let keys = all_keys(own.rows.x, own.rows.w);
  var j = keys.x;
  while (j < keys.y) {
    // The rows that see a key agree on whether it begins a split: as far as none does, tiles of 4.
    let split = min(min(next.x, next.y), min(next.z, next.w));
    if (j == split) {
      for (var r = 0u; r < 4u; r++) {
        if (next[r] != j) { continue; }
        let keep = total_keep(closed[r], most[r]);
        for (var c = 0u; c < params.vectors && own.first + r < own.count; c++) {
          ended[total_base(slots[r]) + c] = with_total(o[bases[r] + c], slots[r], c, closed[r], keep);
          o[bases[r] + c] = vec4f();
        }
        closed[r] = closed_with(closed[r], most[r], weights[r]);
        weights[r] = 0.0;
        next[r] = next_split(j, own.seen.end[r]);
      }
      continue;
    }
    let end = min(split, keys.y);
    for (; j < end; j += 4u) {
      let kv_bases = kv_bases_of(four_from(j, end), own.kv_head);
      var dots = array<mat4x4f, 4>();  // by key, then by pair: four partial sums
      for (var c = 0u; c < params.vectors; c++) {
        var key: mat4x4f;
        for (var n = 0u; n < 4u; n++) { key[n] = k[kv_bases[n] + c]; }
        for (var r = 0u; r < 4u; r++) {
          let query = q[bases[r] + c] * params.scale;
          for (var n = 0u; n < 4u; n++) { dots[n][r] = fma(query, key[n], dots[n][r]); }
        }
      }
      var whole: mat4x4f;  // by key, then by pair, as the weights p
      var p: mat4x4f;
      var risen = most;
      for (var n = 0u; n < 4u; n++) {
        @if(SOFTCAP) let score = capped_four(totals(dots[n]), params.softcap);
        @else let score = totals(dots[n]);
        whole[n] = whole_of_four(score);
        p[n] = part_of_four(score, whole[n]);
        let seen = within(j + n, own.seen) & vec4<bool>(j + n < end);
        risen = select(risen, max(risen, whole[n]), seen);
      }
      let keep = power_of_four(most - risen);  // what the sums so far keep
      most = risen;
      weights *= keep;
      for (var n = 0u; n < 4u; n++) {
        let seen = within(j + n, own.seen) & vec4<bool>(j + n < end);
        p[n] = select(vec4f(), p[n] * power_of_four(whole[n] - most), seen);
        weights += p[n];
      }
      for (var c = 0u; c < params.vectors; c++) {
        var sum: mat4x4f;
        for (var r = 0u; r < 4u; r++) { sum[r] = o[bases[r] + c] * keep[r]; }
        for (var n = 0u; n < 4u; n++) {
          let value = v[kv_bases[n] + c];
          for (var r = 0u; r < 4u; r++) { sum[r] = fma(value, vec4f(p[n][r]), sum[r]); }
        }
        for (var r = 0u; r < 4u; r++) { o[bases[r] + c] = sum[r]; }
      }
    }
    j = end;
  }
  for (var r = 0u; r < 4u && own.first + r < own.count; r++) {
    if (params.prefix == 1u) {
      softmax[slots[r]] = vec2f(most[r], weights[r]);
      keep_closed(slots[r], closed[r]);
      continue;
    }
    let all = closed_with(closed[r], most[r], weights[r]);
    let keep = total_keep(closed[r], most[r]);
    softmax[slots[r]] = vec2f(most[r], all.weight);
    for (var c = 0u; c < params.vectors; c++) {
      o[bases[r] + c] = with_total(o[bases[r] + c], slots[r], c, closed[r], keep) / all.weight;
    }
  }
}
