// attention_grad_kv_narrow_simd8: attention_grad_kv of heads up to 16 wide, for subgroups of 8 lanes. The same bits.
//   dv[j,g] = sum_i sum_h p[i,h] do[i,h],   dk[j,g] = sum_i sum_h ds[i,h] q[i,h]
//   p[i,h] = exp(scale q[i,h].k[j,g] - lse[i,h]),   ds[i,h] = scale p[i,h] (do[i,h].v[j,g] - delta[i,h])
//   stats, h, i, prefix, SOFTCAP and WINDOW as in attention_grad_kv.wgsl
// Shapes    as attention_grad_kv.wgsl; D = 4*VECTORS <= 16
// Dispatch  a workgroup is one subgroup and takes 16 rows of a key head: ceil(N/16)*G workgroups, folded to 2-D
// Numerics  f32, queries and then heads strictly in order
// Why       lib/attention_narrow.wgsl
// Twin      src/ops/attention/attention_f64.ts#attentionGradF64
import package::lib::attention::{all_queries, params, sharing};
import package::lib::attention_grad::stats;
import package::lib::attention_narrow::{VECTORS, bases_of, d_o, dk, dv, k, of_quad, own_rows, own_two, q};
import package::lib::attention_narrow::{rows_of, sees, sum_over_quad, v, with_half};
import package::lib::attention_window::{first_key, walked};
import package::lib::grid::{Fold, group_number};
import package::lib::softcap::{capped_two, slope_two};
enable subgroups;

@compute @workgroup_size(8)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let items = rows_of(group_number(fold));
  if (items.first >= items.count) { return; }
  let own = own_rows(items, lane);

  var key: array<mat2x4f, 4>;
  var value: array<mat2x4f, 4>;
  var key_sum: array<mat2x4f, 4>;
  var value_sum: array<mat2x4f, 4>;
  // Two rounds: a count that the compiler does not know, which would unroll them and take seconds.
  for (var half = 0u; half <= params.vectors / VECTORS; half++) {
    let bases = bases_of(own.slots, lane, half == 1u);
    for (var u = 0u; u < VECTORS; u++) {
      let at = bases + 4u * u;
      key[u] = with_half(key[u], half, vec4f(k[at.x], k[at.y], k[at.z], k[at.w]));
      value[u] = with_half(value[u], half, vec4f(v[at.x], v[at.y], v[at.z], v[at.w]));
      if (params.prefix == 1u) {
        key_sum[u] = with_half(key_sum[u], half, vec4f(dk[at.x], dk[at.y], dk[at.z], dk[at.w]));
        value_sum[u] = with_half(value_sum[u], half, vec4f(dv[at.x], dv[at.y], dv[at.z], dv[at.w]));
      }
    }
  }
  let queries = all_queries(items.first, items.last);
  for (var i = queries.x; i < queries.y; i++) {
    @if(WINDOW) {
      i = walked(i, 1u, items.last);
      if (i >= queries.y) { break; }
    }
    for (var head = items.kv_head * sharing(); head < (items.kv_head + 1u) * sharing(); head++) {
      let stat = stats[i * params.heads + head];
      let base = (i * params.heads + head) * VECTORS * 4u + (lane & 3u);
      var query: array<f32, 4>;
      var upstream: array<f32, 4>;
      var dots = mat2x4f();
      var pulls = mat2x4f();
      for (var u = 0u; u < VECTORS; u++) {
        query[u] = q[base + 4u * u];
        upstream[u] = d_o[base + 4u * u];
        dots[0] = fma(vec4f(query[u]), key[u][0], dots[0]);
        dots[1] = fma(vec4f(query[u]), key[u][1], dots[1]);
        pulls[0] = fma(vec4f(upstream[u]), value[u][0], pulls[0]);
        pulls[1] = fma(vec4f(upstream[u]), value[u][1], pulls[1]);
      }
      @if(SOFTCAP) let scores = capped_two(params.scale * sum_over_quad(dots, lane), params.softcap);
      @else let scores = params.scale * sum_over_quad(dots, lane);
      @if(SOFTCAP) let factor = params.scale * slope_two(scores, params.softcap);
      @else let factor = params.scale;
      let rise = scores - stat.x;
      let pulled = sum_over_quad(pulls, lane) - stat.y;
      @if(WINDOW) let seen = sees(own, i) & (own_two(items, lane) >= vec2u(first_key(i)));
      @else let seen = sees(own, i);
      let own_p = select(vec2f(), exp(min(rise, vec2f(1.0))), seen);
      let p = of_quad(own_p);
      let ds = of_quad(factor * own_p * pulled);
      for (var u = 0u; u < VECTORS; u++) {
        value_sum[u][0] = fma(vec4f(upstream[u]), p[0], value_sum[u][0]);
        value_sum[u][1] = fma(vec4f(upstream[u]), p[1], value_sum[u][1]);
        key_sum[u][0] = fma(vec4f(query[u]), ds[0], key_sum[u][0]);
        key_sum[u][1] = fma(vec4f(query[u]), ds[1], key_sum[u][1]);
      }
    }
  }
  for (var half = 0u; half <= params.vectors / VECTORS; half++) {
    let bases = bases_of(own.slots, lane, half == 1u);
    for (var u = 0u; u < VECTORS; u++) {
      let at = bases + 4u * u;
      let dx = select(key_sum[u][0], key_sum[u][1], half == 1u);
      let dy = select(value_sum[u][0], value_sum[u][1], half == 1u);
      for (var n = 0u; n < 4u; n++) { dk[at[n]] = dx[n]; }
      for (var n = 0u; n < 4u; n++) { dv[at[n]] = dy[n]; }
    }
  }
}
