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
import package::lib::attention_narrow::{VECTORS, bases_of, k, o, of_quad, own_pairs, pairs_of, q, sees};
import package::lib::attention_narrow::{sum_over_quad, v, with_half};
import package::lib::grid::{Fold, group_number};
import package::lib::running_softmax::LEAST;
import package::lib::softcap::capped_two;
enable subgroups;

@compute @workgroup_size(8)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let items = pairs_of(group_number(fold));
  if (items.first >= items.count) { return; }
  let own = own_pairs(items, lane);

  var most = vec2f(LEAST);
  var weights = vec2f();
  if (params.after_prefix == 1u) {
    most = vec2f(softmax[own.slots.x].x, softmax[own.slots.y].x);
    weights = vec2f(softmax[own.slots.x].y, softmax[own.slots.y].y);
  }
  var query: array<mat2x4f, 4>;
  var sum: array<mat2x4f, 4>;
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
  let keys = all_keys(items.first / sharing(), items.last / sharing());
  for (var j = keys.x; j < keys.y; j++) {
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
    let rise = scores - most;
    let shrunk = exp(-abs(rise));  // the one exponential: of the old maximum or of this key
    let rises = seen & (rise > vec2f());
    let own_keep = select(vec2f(1.0), shrunk, rises);
    let own_p = select(select(vec2f(), shrunk, seen), vec2f(1.0), rises);
    most = select(most, scores, rises);
    weights = fma(weights, own_keep, own_p);
    let keep = of_quad(own_keep);
    let p = of_quad(own_p);
    for (var u = 0u; u < VECTORS; u++) {
      let value = vec4f(v[base + 4u * u]);
      sum[u][0] = fma(value, p[0], sum[u][0] * keep[0]);
      sum[u][1] = fma(value, p[1], sum[u][1] * keep[1]);
    }
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
