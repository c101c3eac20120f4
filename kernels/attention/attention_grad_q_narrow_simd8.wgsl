// attention_grad_q_narrow_simd8: attention_grad_q of heads up to 16 wide, for subgroups of 8 lanes. The same bits.
//   dq[i,h] = sum_j ds[j] k[j,g],   ds[j] = scale p[j] (do[i,h].v[j,g] - delta[i,h])
//   p[j] = exp(scale q[i,h].k[j,g] - lse[i,h]);   stats = (lse, delta)
//   j, g, prefix, after_prefix and SOFTCAP as in attention_grad_q.wgsl
// Shapes    as attention_grad_q.wgsl; D = 4*VECTORS <= 16
// Dispatch  a workgroup is one subgroup and takes 16 pairs (row, query head of a key head), counted row by row:
//           ceil(N*(H/G)/16)*G workgroups, folded to 2-D
// Numerics  f32, keys strictly in order
// Why       lib/attention_narrow.wgsl
// Twin      src/ops/attention/attention_f64.ts#attentionGradF64
import package::lib::attention::{all_keys, params, sharing};
import package::lib::attention_grad::stats;
import package::lib::attention_narrow::{VECTORS, bases_of, d_o, dq, k, of_quad, own_pairs, pairs_of, q, sees};
import package::lib::attention_narrow::{sum_over_quad, v, with_half};
import package::lib::grid::{Fold, group_number};
import package::lib::softcap::{capped_two, slope_two};
enable subgroups;

@compute @workgroup_size(8)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let items = pairs_of(group_number(fold));
  if (items.first >= items.count) { return; }
  let own = own_pairs(items, lane);
  let lse = vec2f(stats[own.slots.x].x, stats[own.slots.y].x);
  let delta = vec2f(stats[own.slots.x].y, stats[own.slots.y].y);

  var query: array<mat2x4f, 4>;
  var upstream: array<mat2x4f, 4>;
  var sum: array<mat2x4f, 4>;
  // Two rounds: a count that the compiler does not know, which would unroll them and take seconds.
  for (var half = 0u; half <= params.vectors / VECTORS; half++) {
    let bases = bases_of(own.slots, lane, half == 1u);
    for (var u = 0u; u < VECTORS; u++) {
      let at = bases + 4u * u;
      query[u] = with_half(query[u], half, vec4f(q[at.x], q[at.y], q[at.z], q[at.w]));
      upstream[u] = with_half(upstream[u], half, vec4f(d_o[at.x], d_o[at.y], d_o[at.z], d_o[at.w]));
      if (params.after_prefix == 1u) {
        sum[u] = with_half(sum[u], half, vec4f(dq[at.x], dq[at.y], dq[at.z], dq[at.w]));
      }
    }
  }
  let keys = all_keys(items.first / sharing(), items.last / sharing());
  for (var j = keys.x; j < keys.y; j++) {
    let base = (j * params.kv_heads + items.kv_head) * VECTORS * 4u + (lane & 3u);
    var key: array<f32, 4>;
    var dots = mat2x4f();
    var pulls = mat2x4f();
    for (var u = 0u; u < VECTORS; u++) {
      key[u] = k[base + 4u * u];
      let value = vec4f(v[base + 4u * u]);
      dots[0] = fma(query[u][0], vec4f(key[u]), dots[0]);
      dots[1] = fma(query[u][1], vec4f(key[u]), dots[1]);
      pulls[0] = fma(upstream[u][0], value, pulls[0]);
      pulls[1] = fma(upstream[u][1], value, pulls[1]);
    }
    @if(SOFTCAP) let scores = capped_two(params.scale * sum_over_quad(dots, lane), params.softcap);
    @else let scores = params.scale * sum_over_quad(dots, lane);
    @if(SOFTCAP) let factor = params.scale * slope_two(scores, params.softcap);
    @else let factor = params.scale;
    let rise = scores - lse;
    let pulled = sum_over_quad(pulls, lane) - delta;
    let seen = sees(own, j);
    let ds = of_quad(select(vec2f(), factor * exp(min(rise, vec2f(1.0))) * pulled, seen));
    for (var u = 0u; u < VECTORS; u++) {
      sum[u][0] = fma(vec4f(key[u]), ds[0], sum[u][0]);
      sum[u][1] = fma(vec4f(key[u]), ds[1], sum[u][1]);
    }
  }
  for (var half = 0u; half <= params.vectors / VECTORS; half++) {
    let bases = bases_of(own.slots, lane, half == 1u);
    for (var u = 0u; u < VECTORS; u++) {
      let at = bases + 4u * u;
      let x = select(sum[u][0], sum[u][1], half == 1u);
      for (var n = 0u; n < 4u; n++) { dq[at[n]] = x[n]; }
    }
  }
}
