// attention_narrow_simd8: attention of heads up to 16 wide, for subgroups of 8 lanes. The same sums, the same bits.
//   o[i,h] = sum_j p[j] v[j,g] / sum_j p[j],   p[j] = exp(s[j] - m),   s[j] = scale q[i,h].k[j,g],   m = max_j s[j]
//   softmax[i,h] = (m, sum_j p[j]);   j, g, prefix, after_prefix and SOFTCAP as in attention.wgsl
// Shapes    as attention.wgsl; D = 4*VECTORS <= 16
// Dispatch  a workgroup is one subgroup and takes 16 pairs (row, query head of a key head), counted row by row:
//           ceil(N*(H/G)/16)*G workgroups, folded to 2-D
// Numerics  f32, keys strictly in order with a running maximum; a key that a row must not see gets weight 0
// Why       lib/attention_narrow.wgsl
// Twin      src/ops/attention/attention_f64.ts#attentionF64     Gradient: attention_grad_*.wgsl
import package::lib::attention::{all_keys, params, sharing, softmax};
import package::lib::attention_narrow::{Own, VECTORS, are_items, bases_of, ended, ended_bases_of, k, o, of_quad};
import package::lib::attention_narrow::{own_pairs, pairs_of, q, sees, sum_over_quad, v, with_half};
import package::lib::attention_splits::{first_split, next_split};
import package::lib::grid::{Fold, group_number};
import package::lib::softcap::capped_two;
import package::lib::softmax_powers::{LAZY, LEAST, part_of_two, power_of_two, whole_of_two};
enable subgroups;

// Eight sums of a lane's columns, by vector.
alias Sums = array<mat2x4f, 4>;

// What is done with the sums of a lane's two items.
struct Adding {
  marked: vec2<bool>,  // they are added to what ended before
  has: vec2<bool>,     // if anything did
  keep: vec2f,         // of that
  kept: vec2<bool>,    // the result is kept there, unless it is the last
}

fn as_numbers(x: vec2<bool>) -> vec2f { return select(vec2f(), vec2f(1.0), x); }

fn add_ended(sum: ptr<function, Sums>, own: Own, lane: u32, adding: Adding, is_last: bool) {
  let chosen = of_quad(as_numbers(adding.marked));
  let old = of_quad(as_numbers(adding.has));
  let stored = of_quad(as_numbers(adding.kept));
  let keeps = of_quad(adding.keep);
  for (var half = 0u; half <= params.vectors / VECTORS; half++) {
    let bases = ended_bases_of(own.slots, lane, half == 1u);
    let is_chosen = select(chosen[0], chosen[1], half == 1u);
    let is_old = select(old[0], old[1], half == 1u);
    let is_stored = select(stored[0], stored[1], half == 1u);
    let keep = select(keeps[0], keeps[1], half == 1u);
    for (var u = 0u; u < VECTORS; u++) {
      let at = bases + 4u * u;
      var x = select((*sum)[u][0], (*sum)[u][1], half == 1u);
      for (var n = 0u; n < 4u; n++) {
        if (is_chosen[n] == 1.0) {
          if (is_old[n] == 1.0) { x[n] = fma(ended[at[n]], keep[n], x[n]); }
          if (!is_last) {
            if (is_stored[n] == 1.0) { ended[at[n]] = x[n]; }
            x[n] = 0.0;
          }
        }
      }
      (*sum)[u] = with_half((*sum)[u], half, x);
    }
  }
}

@diagnostic(off, subgroup_uniformity) @compute @workgroup_size(8)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let items = pairs_of(group_number(fold));
  if (items.first >= items.count) { return; }
  let own = own_pairs(items, lane);
  let are_own = are_items(items, lane);

  var most = vec2f(LEAST);
  var weights = vec2f();
  var ended_most = vec2f();
  var ended_weights = vec2f();
  let ended_at = (own.slots * (VECTORS + 1u) + VECTORS) * 4u;
  if (params.after_prefix == 1u) {
    most = vec2f(softmax[own.slots.x].x, softmax[own.slots.y].x);
    weights = vec2f(softmax[own.slots.x].y, softmax[own.slots.y].y);
    ended_most = vec2f(ended[ended_at.x], ended[ended_at.y]);
    ended_weights = vec2f(ended[ended_at.x + 1u], ended[ended_at.y + 1u]);
  }
  var query: array<mat2x4f, 4>;
  var sum: Sums;
  // Two rounds: a count that the compiler does not know, which would unroll them and take seconds.
  for (var half = 0u; half <= params.vectors / VECTORS; half++) {
    let bases = bases_of(own.slots, lane, half == 1u);
    for (var u = 0u; u < VECTORS; u++) {
      let at = bases + 4u * u;
      query[u] = with_half(query[u], half, vec4f(q[at.x], q[at.y], q[at.z], q[at.w]) * params.scale);
      if (params.after_prefix == 1u) {
        sum[u] = with_half(sum[u], half, vec4f(o[at.x], o[at.y], o[at.z], o[at.w]));
      }
    }
  }
  let rows = own.slots / params.heads;
  var next = vec2u(
    first_split(rows.x, vec2u(own.begin.x, own.end.x)),
    first_split(rows.y, vec2u(own.begin.y, own.end.y)),
  );
  let keys = all_keys(items.first / sharing(), items.last / sharing());
  var j = keys.x;
  while (true) {
    // The rows that see a key agree on whether it begins a split.
    let split = subgroupMin(min(next.x, next.y));
    let is_last = j >= keys.y;
    if (is_last || j == split) {
      let has = ended_weights > vec2f();
      let marked = select(next == vec2u(j), has & vec2<bool>(params.prefix == 0u), is_last);
      if (subgroupAny(any(marked))) {
        let keep = power_of_two(ended_most - most);
        let all_weights = fma(ended_weights, keep, weights);
        add_ended(&sum, own, lane, Adding(marked, has, keep, marked & are_own), is_last);
        if (is_last) {
          weights = select(weights, all_weights, marked);
        } else {
          ended_weights = select(ended_weights, all_weights, marked);
          ended_most = select(ended_most, most, marked);
          weights = select(weights, vec2f(), marked);
          next = select(next, vec2u(next_split(j, own.end.x), next_split(j, own.end.y)), marked);
        }
      }
      if (is_last) { break; }
      continue;
    }
    let end = min(split, keys.y);
    for (; j < end; j++) {
      let base = (j * params.kv_heads + items.kv_head) * VECTORS * 4u + (lane & 3u);
      var dots = mat2x4f();
      for (var u = 0u; u < VECTORS; u++) {
        let key = vec4f(k[base + 4u * u]);
        dots[0] = fma(query[u][0], key, dots[0]);
        dots[1] = fma(query[u][1], key, dots[1]);
      }
      @if(SOFTCAP) let scores = capped_two(sum_over_quad(dots, lane), params.softcap);
      @else let scores = sum_over_quad(dots, lane);
      let seen = sees(own, j);
      let whole = whole_of_two(scores);
      let part = part_of_two(scores, whole);
      let rises = seen & (whole > most + LAZY);
      if (subgroupAny(any(rises))) {
        let risen = select(most, whole, rises);
        let own_keep = power_of_two(most - risen);
        most = risen;
        weights *= own_keep;
        let keep = of_quad(own_keep);
        for (var u = 0u; u < VECTORS; u++) { sum[u] = mat2x4f(sum[u][0] * keep[0], sum[u][1] * keep[1]); }
      }
      let own_p = select(vec2f(), part * power_of_two(whole - most), seen);
      weights += own_p;
      let p = of_quad(own_p);
      for (var u = 0u; u < VECTORS; u++) {
        let value = vec4f(v[base + 4u * u]);
        sum[u][0] = fma(value, p[0], sum[u][0]);
        sum[u][1] = fma(value, p[1], sum[u][1]);
      }
    }
  }
  if (params.prefix == 1u) {
    ended[ended_at.x] = ended_most.x;
    ended[ended_at.y] = ended_most.y;
    ended[ended_at.x + 1u] = ended_weights.x;
    ended[ended_at.y + 1u] = ended_weights.y;
  }
  softmax[own.slots.x] = vec2f(most.x, weights.x);
  softmax[own.slots.y] = vec2f(most.y, weights.y);
  let divisors = of_quad(select(weights, vec2f(1.0), vec2<bool>(params.prefix == 1u)));
  for (var half = 0u; half <= params.vectors / VECTORS; half++) {
    let bases = bases_of(own.slots, lane, half == 1u);
    for (var u = 0u; u < VECTORS; u++) {
      let at = bases + 4u * u;
      let x = select(sum[u][0] / divisors[0], sum[u][1] / divisors[1], half == 1u);
      for (var n = 0u; n < 4u; n++) { o[at[n]] = x[n]; }
    }
  }
}
