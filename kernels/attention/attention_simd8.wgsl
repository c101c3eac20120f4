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
import package::lib::attention_splits::{closed_before, closed_with, ended, first_split, keep_closed, next_split};
import package::lib::attention_splits::{total_base, total_keep, with_total};
import package::lib::broadcast8::of_all_lanes;
import package::lib::grid::{Fold, group_number};
import package::lib::softcap::capped;
import package::lib::softmax_powers::{LEAST, must_rise, part_of, power, whole_of};
enable subgroups;

@diagnostic(off, subgroup_uniformity) @compute @workgroup_size(8)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let rows = rows_of(group_number(fold), params.heads);
  if (rows.first >= params.rows) { return; }
  let row = own_row(rows, lane);
  let is_spare = rows.first + lane > rows.last;
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
  var closed = closed_before(slot);
  var next = first_split(row, own);
  let keys = all_keys(rows.first, rows.last);
  var j = keys.x;
  while (j < keys.y) {
    // The rows that see a key agree on whether it begins a split: as far as none does, tiles of 8.
    let split = subgroupMin(next);
    if (j == split) {
      if (j == next) {
        let keep = total_keep(closed, most);
        for (var c = 0u; c < params.vectors; c++) {
          if (!is_spare) { ended[total_base(slot) + c] = with_total(sum[c], slot, c, closed, keep); }
          sum[c] = vec4f();
        }
        closed = closed_with(closed, most, weights);
        weights = 0.0;
        next = next_split(j, own.y);
      }
      continue;
    }
    let end = min(split, keys.y);
    for (; j < end; j += 8u) {
      let kv_base = (min(j + lane, keys.y - 1u) * params.kv_heads + kv_head) * params.vectors;
      var dots = array<vec4f, 8>();
      for (var c = 0u; c < params.vectors; c++) {
        let key = of_all_lanes(k[kv_base + c]);
        let query_c = query[c];
        for (var n = 0u; n < 8u; n++) { dots[n] = fma(query_c, key[n], dots[n]); }
      }
      let seen_end = min(own.y, end);
      var whole = array<f32, 8>();
      var p = array<f32, 8>();
      var highest = LEAST;
      for (var n = 0u; n < 8u; n++) {
        @if(SOFTCAP) let score = capped(total(dots[n]), params.softcap);
        @else let score = total(dots[n]);
        whole[n] = whole_of(score);
        p[n] = part_of(score, whole[n]);
        highest = select(highest, max(highest, whole[n]), j + n >= own.x && j + n < seen_end);
      }
      if (subgroupAny(must_rise(most, highest))) {
        let risen = max(most, highest);
        let keep = power(most - risen);
        most = risen;
        weights *= keep;
        for (var c = 0u; c < params.vectors; c++) { sum[c] *= keep; }
      }
      for (var n = 0u; n < 8u; n++) {
        p[n] = select(0.0, p[n] * power(whole[n] - most), j + n >= own.x && j + n < seen_end);
        weights += p[n];
      }
      for (var c = 0u; c < params.vectors; c++) {
        let value = of_all_lanes(v[kv_base + c]);
        var sum_c = sum[c];
        for (var n = 0u; n < 8u; n++) { sum_c = fma(value[n], vec4f(p[n]), sum_c); }
        sum[c] = sum_c;
      }
    }
    j = end;
  }
  if (is_spare) { return; }
  if (params.prefix == 1u) {
    for (var c = 0u; c < params.vectors; c++) { o[base + c] = sum[c]; }
    softmax[slot] = vec2f(most, weights);
    keep_closed(slot, closed);
    return;
  }
  let all = closed_with(closed, most, weights);
  let keep = total_keep(closed, most);
  for (var c = 0u; c < params.vectors; c++) { o[base + c] = with_total(sum[c], slot, c, closed, keep) / all.weight; }
  softmax[slot] = vec2f(most, all.weight);
}
