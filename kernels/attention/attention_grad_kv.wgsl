// attention_grad_kv: gradient of attention with respect to the keys and values.
//   dv[j,g] = sum_i sum_h p[i,h] do[i,h],   dk[j,g] = sum_i sum_h ds[i,h] q[i,h]
//   p[i,h] = exp(scale q[i,h].k[j,g] - lse[i,h]),   ds[i,h] = scale p[i,h] (do[i,h].v[j,g] - delta[i,h])
//   stats = (lse, delta);   h: the H/G query heads of key head g;   i = j .. bounds[j].y - 1
//   prefix: i = bounds[j].x .. bounds[j].y - 1, any rows of q; adds to what dk and dv hold
//   SOFTCAP: p of the scores s that attention.wgsl has then, and ds times their slope, 1 - (s / softcap)^2
//   WINDOW, with prefix: of these i those with walk[i].x <= j (attention_window.wgsl)
// Shapes    q, d_o f32 [N,H*D]; k, v f32 [N,G*D]; bounds, walk i32 [N,2]; stats f32 [N,H,2]; out dk, dv f32 [N,G*D];
//           D = 4*vectors
// Dispatch  a lane takes 4 rows of a key head and visits 4 pairs (query, head) at a time; neighbour lanes take the key
//           heads: ceil(ceil(N/4)*G/WG) workgroups, folded to 2-D
// Numerics  f32, queries and then heads strictly in order
// Cost      no lane waits for another. A tile of 4 x 4 loads each value for 4 products; nothing is indexed at run time
//           but buffers (the sums lie in dk and dv), so that one pipeline serves every D
// Twin      src/ops/attention/attention_f64.ts#attentionGradF64
import package::lib::attention::{all_queries, params, q, sharing};
import package::lib::attention_grad::{d_o, dk, dv, stats};
import package::lib::attention_grad_tile::products;
import package::lib::attention_tile::{Ranges, four_from, own_rows, slots_of, totals, within};
import package::lib::attention_window::{first_key, walked};
import package::lib::grid::{Place, WG, lane_number};
import package::lib::softcap::{capped_four, slope_four};

@compute @workgroup_size(WG)
fn main(place: Place) {
  let own = own_rows(lane_number(place));
  if (own.first >= own.count) { return; }
  let kv_bases = own.slots * params.vectors;
  // Queries and their heads, counted together.
  let pairs = all_queries(own.rows.x, own.rows.w) * sharing();
  let seen = Ranges(own.seen.begin * sharing(), own.seen.end * sharing());
  for (var r = 0u; r < 4u; r++) {
    if (params.prefix == 0u) {
      for (var c = 0u; c < params.vectors; c++) {
        dk[kv_bases[r] + c] = vec4f();
        dv[kv_bases[r] + c] = vec4f();
      }
    }
  }
  for (var i = pairs.x; i < pairs.y; i += 4u) {
    @if(WINDOW) {
      i = walked(i, sharing(), own.rows.w);
      if (i >= pairs.y) { break; }
    }
    let slots = slots_of(four_from(i, pairs.y), own.kv_head);
    let bases = slots * params.vectors;
    var made = products(bases, kv_bases);
    var p: mat4x4f;  // by pair, then by row
    var ds: mat4x4f;
    for (var n = 0u; n < 4u; n++) {
      let stat = stats[slots[n]];
      @if(SOFTCAP) let scores = capped_four(params.scale * totals(made.dots[n]), params.softcap);
      @else let scores = params.scale * totals(made.dots[n]);
      @if(SOFTCAP) let factor = params.scale * slope_four(scores, params.softcap);
      @else let factor = params.scale;
      let rise = scores - stat.x;
      @if(WINDOW) let sees = within(i + n, seen) & (own.rows >= vec4u(first_key(min(i + n, pairs.y - 1u) / sharing())));
      @else let sees = within(i + n, seen);
      p[n] = select(vec4f(), exp(min(rise, vec4f(1.0))), sees);
      ds[n] = factor * p[n] * (totals(made.pulls[n]) - stat.y);
    }
    for (var c = 0u; c < params.vectors; c++) {
      var key_sum: mat4x4f;
      var value_sum: mat4x4f;
      for (var r = 0u; r < 4u; r++) {
        key_sum[r] = dk[kv_bases[r] + c];
        value_sum[r] = dv[kv_bases[r] + c];
      }
      for (var n = 0u; n < 4u; n++) {
        let query = q[bases[n] + c];
        let upstream = d_o[bases[n] + c];
        for (var r = 0u; r < 4u; r++) {
          value_sum[r] = fma(upstream, vec4f(p[n][r]), value_sum[r]);
          key_sum[r] = fma(query, vec4f(ds[n][r]), key_sum[r]);
        }
      }
      for (var r = 0u; r < 4u; r++) {
        dk[kv_bases[r] + c] = key_sum[r];
        dv[kv_bases[r] + c] = value_sum[r];
      }
    }
  }
}
