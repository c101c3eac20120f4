// attention_grad_q_simd8: attention_grad_q for subgroups of 8 lanes. The same sums, the same bits.
//   dq[i,h] = sum_j ds[j] k[j,g],   ds[j] = scale p[j] (do[i,h].v[j,g] - delta[i,h])
//   p[j] = exp(scale q[i,h].k[j,g] - lse[i,h]);   stats = (lse, delta)
//   j, g, prefix, after_prefix and SOFTCAP as in attention_grad_q.wgsl
// Shapes    as attention_grad_q.wgsl; D <= 128, WIDE 256
// Dispatch  a workgroup is one subgroup, a lane for each of 8 rows of a head: ceil(N/8)*H workgroups, folded to 2-D
// Numerics  f32, keys strictly in order
// Why       lib/attention_simd8.wgsl. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/attention/attention_f64.ts#attentionGradF64
import package::lib::attention::{all_keys, k, keys_of, params, q, sharing, v};
import package::lib::attention_grad::{d_o, dq, stats};
import package::lib::attention_simd8::{MOST_VECTORS, own_row, rows_of, total};
import package::lib::broadcast8::of_all_lanes;
import package::lib::grid::{Fold, group_number};
import package::lib::softcap::{capped, slope};
enable subgroups;

@compute @workgroup_size(8)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let rows = rows_of(group_number(fold), params.heads);
  if (rows.first >= params.rows) { return; }
  let own = keys_of(own_row(rows, lane));
  let slot = own_row(rows, lane) * params.heads + rows.head;
  let stat = stats[slot];
  let base = slot * params.vectors;

  var query: array<vec4f, MOST_VECTORS>;
  var upstream: array<vec4f, MOST_VECTORS>;
  var sum: array<vec4f, MOST_VECTORS>;
  for (var c = 0u; c < params.vectors; c++) {
    query[c] = q[base + c];
    upstream[c] = d_o[base + c];
    sum[c] = vec4f();
    if (params.after_prefix == 1u) { sum[c] = dq[base + c]; }
  }
  let kv_head = rows.head / sharing();
  let keys = all_keys(rows.first, rows.last);
  for (var j = keys.x; j < keys.y; j += 8u) {
    let kv_base = (min(j + lane, keys.y - 1u) * params.kv_heads + kv_head) * params.vectors;
    var dots = array<vec4f, 8>();  // by key: four partial sums
    var pulls = array<vec4f, 8>();
    for (var c = 0u; c < params.vectors; c++) {
      let key = of_all_lanes(k[kv_base + c]);
      let value = of_all_lanes(v[kv_base + c]);
      let query_c = query[c];
      let upstream_c = upstream[c];
      for (var n = 0u; n < 8u; n++) {
        dots[n] = fma(query_c, key[n], dots[n]);
        pulls[n] = fma(upstream_c, value[n], pulls[n]);
      }
    }
    var ds = array<f32, 8>();
    for (var n = 0u; n < 8u; n++) {
      @if(SOFTCAP) let score = capped(params.scale * total(dots[n]), params.softcap);
      @else let score = params.scale * total(dots[n]);
      @if(SOFTCAP) let factor = params.scale * slope(score, params.softcap);
      @else let factor = params.scale;
      let p = exp(min(score - stat.x, 1.0));
      ds[n] = select(0.0, factor * p * (total(pulls[n]) - stat.y), j + n >= own.x && j + n < own.y);
    }
    for (var c = 0u; c < params.vectors; c++) {
      let key = of_all_lanes(k[kv_base + c]);
      var sum_c = sum[c];
      for (var n = 0u; n < 8u; n++) { sum_c = fma(key[n], vec4f(ds[n]), sum_c); }
      sum[c] = sum_c;
    }
  }
  if (rows.first + lane > rows.last) { return; }
  for (var c = 0u; c < params.vectors; c++) { dq[base + c] = sum[c]; }
}
