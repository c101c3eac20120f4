// attention_grad_kv_simd8: attention_grad_kv for subgroups of 8 lanes. The same sums, the same bits.
//   dv[j,g] = sum_i sum_h p[i,h] do[i,h],   dk[j,g] = sum_i sum_h ds[i,h] q[i,h]
//   p[i,h] = exp(scale q[i,h].k[j,g] - lse[i,h]),   ds[i,h] = scale p[i,h] (do[i,h].v[j,g] - delta[i,h])
//   stats, h, i, prefix, SOFTCAP and WINDOW as in attention_grad_kv.wgsl
// Shapes    as attention_grad_kv.wgsl; D <= 128, WIDE 256
// Dispatch  a workgroup is one subgroup, a lane for each of 8 rows of a key head: ceil(N/8)*G workgroups, folded to 2-D
// Numerics  f32, queries and then heads strictly in order
// Why       lib/attention_simd8.wgsl. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/attention/attention_f64.ts#attentionGradF64
import package::lib::attention::{all_queries, k, params, q, queries_of, sharing, v};
import package::lib::attention_grad::{d_o, dk, dv, stats};
import package::lib::attention_simd8::{MOST_VECTORS, own_row, rows_of, total};
import package::lib::attention_window::{first_key, walked};
import package::lib::broadcast8::of_all_lanes;
import package::lib::grid::{Fold, group_number};
import package::lib::softcap::{capped, slope};
enable subgroups;

@compute @workgroup_size(8)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let rows = rows_of(group_number(fold), params.kv_heads);
  if (rows.first >= params.rows) { return; }
  let row = own_row(rows, lane);
  let kv_base = (row * params.kv_heads + rows.head) * params.vectors;

  var key: array<vec4f, MOST_VECTORS>;
  var value: array<vec4f, MOST_VECTORS>;
  var key_sum: array<vec4f, MOST_VECTORS>;
  var value_sum: array<vec4f, MOST_VECTORS>;
  for (var c = 0u; c < params.vectors; c++) {
    key[c] = k[kv_base + c];
    value[c] = v[kv_base + c];
    key_sum[c] = vec4f();
    value_sum[c] = vec4f();
    if (params.prefix == 1u) {
      key_sum[c] = dk[kv_base + c];
      value_sum[c] = dv[kv_base + c];
    }
  }
  // Queries and their heads, counted together.
  let pairs = all_queries(rows.first, rows.last) * sharing();
  let own = queries_of(row) * sharing();
  for (var i = pairs.x; i < pairs.y; i += 8u) {
    @if(WINDOW) {
      i = walked(i, sharing(), rows.last);
      if (i >= pairs.y) { break; }
    }
    let pair = min(i + lane, pairs.y - 1u);  // that this lane loads
    let slot = pair / sharing() * params.heads + rows.head * sharing() + pair % sharing();
    let base = slot * params.vectors;
    let stat = of_all_lanes(vec4f(stats[slot], vec2f()));
    var dots = array<vec4f, 8>();  // by pair: four partial sums
    var pulls = array<vec4f, 8>();
    for (var c = 0u; c < params.vectors; c++) {
      let query = of_all_lanes(q[base + c]);
      let upstream = of_all_lanes(d_o[base + c]);
      let key_c = key[c];
      let value_c = value[c];
      for (var n = 0u; n < 8u; n++) {
        dots[n] = fma(query[n], key_c, dots[n]);
        pulls[n] = fma(upstream[n], value_c, pulls[n]);
      }
    }
    var p = array<f32, 8>();
    var ds = array<f32, 8>();
    for (var n = 0u; n < 8u; n++) {
      @if(SOFTCAP) let score = capped(params.scale * total(dots[n]), params.softcap);
      @else let score = params.scale * total(dots[n]);
      @if(SOFTCAP) let factor = params.scale * slope(score, params.softcap);
      @else let factor = params.scale;
      let rise = score - stat[n].x;
      @if(WINDOW) let sees = i + n >= own.x && i + n < own.y && row >= first_key(min(i + n, pairs.y - 1u) / sharing());
      @else let sees = i + n >= own.x && i + n < own.y;
      p[n] = select(0.0, exp(min(rise, 1.0)), sees);
      ds[n] = factor * p[n] * (total(pulls[n]) - stat[n].y);
    }
    for (var c = 0u; c < params.vectors; c++) {
      let query = of_all_lanes(q[base + c]);
      let upstream = of_all_lanes(d_o[base + c]);
      var key_c = key_sum[c];
      var value_c = value_sum[c];
      for (var n = 0u; n < 8u; n++) {
        value_c = fma(upstream[n], vec4f(p[n]), value_c);
        key_c = fma(query[n], vec4f(ds[n]), key_c);
      }
      key_sum[c] = key_c;
      value_sum[c] = value_c;
    }
  }
  if (rows.first + lane > rows.last) { return; }
  for (var c = 0u; c < params.vectors; c++) {
    dk[kv_base + c] = key_sum[c];
    dv[kv_base + c] = value_sum[c];
  }
}
