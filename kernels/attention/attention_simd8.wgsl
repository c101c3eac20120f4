// attention_simd8: attention for subgroups of 8 lanes. The same sums, the same bits.
//   o[i,h] = sum_j p[j] v[j,g] / sum_j p[j],   p[j] = exp(s[j] - m),   s[j] = scale q[i,h].k[j,g],   m = max_j s[j]
//   softmax[i,h] = (m, sum_j p[j]);   j, g, prefix, after_prefix and SOFTCAP as in attention.wgsl
// Shapes    as attention.wgsl; D <= 128, WIDE 256
// Dispatch  a workgroup is one subgroup, a lane for each of 8 rows of a head: ceil(N/8)*H workgroups, folded to 2-D
// Numerics  f32, keys strictly in order with a running maximum; a key that a row must not see gets weight 0
// Why       lib/attention_simd8.wgsl. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/attention/attention_f64.ts#attentionF64     Gradient: attention_grad_*.wgsl
import package::lib::attention::{all_keys, k, keys_of, o, params, q, sharing, softmax, v};
import package::lib::attention_simd8::{MOST_VECTORS, own_row, rows_of, total};
import package::lib::broadcast8::of_all_lanes;
import package::lib::grid::{Fold, group_number};
import package::lib::running_softmax::{LEAST, meet};
import package::lib::softcap::capped;
enable subgroups;

@compute @workgroup_size(8)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let rows = rows_of(group_number(fold), params.heads);
  if (rows.first >= params.rows) { return; }
  let row = own_row(rows, lane);
  let own = keys_of(row);
  let slot = row * params.heads + rows.head;
  let base = slot * params.vectors;
  let kv_head = rows.head / sharing();

  var query: array<vec4f, MOST_VECTORS>;
  var sum: array<vec4f, MOST_VECTORS>;
  for (var c = 0u; c < params.vectors; c++) {
    query[c] = q[base + c] * params.scale;
    sum[c] = vec4f();
    if (params.after_prefix == 1u) { sum[c] = o[base + c]; }
  }
  var most = LEAST;
  var weights = 0.0;
  if (params.after_prefix == 1u) {
    most = softmax[slot].x;
    weights = softmax[slot].y;
  }
  let keys = all_keys(rows.first, rows.last);
  for (var j = keys.x; j < keys.y; j += 8u) {
    let kv_base = (min(j + lane, keys.y - 1u) * params.kv_heads + kv_head) * params.vectors;
    var dots = array<vec4f, 8>();
    for (var c = 0u; c < params.vectors; c++) {
      let key = of_all_lanes(k[kv_base + c]);
      let query_c = query[c];
      for (var n = 0u; n < 8u; n++) { dots[n] = fma(query_c, key[n], dots[n]); }
    }
    var keep = array<f32, 8>();
    var p = array<f32, 8>();
    for (var n = 0u; n < 8u; n++) {
      @if(SOFTCAP) let score = capped(total(dots[n]), params.softcap);
      @else let score = total(dots[n]);
      let met = meet(most, score, j + n >= own.x && j + n < own.y);
      most = met.most;
      weights = fma(weights, met.keep, met.p);
      keep[n] = met.keep;
      p[n] = met.p;
    }
    for (var c = 0u; c < params.vectors; c++) {
      let value = of_all_lanes(v[kv_base + c]);
      var sum_c = sum[c];
      for (var n = 0u; n < 8u; n++) { sum_c = fma(value[n], vec4f(p[n]), sum_c * keep[n]); }
      sum[c] = sum_c;
    }
  }
  if (rows.first + lane > rows.last) { return; }
  let divisor = select(weights, 1.0, params.prefix == 1u);
  for (var c = 0u; c < params.vectors; c++) { o[base + c] = sum[c] / divisor; }
  softmax[slot] = vec2f(most, weights);
}
