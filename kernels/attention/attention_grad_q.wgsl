// attention_grad_q: gradient of attention with respect to the queries.
//   dq[i,h] = sum_j ds[j] k[j,g],   ds[j] = scale p[j] (do[i,h].v[j,g] - delta[i,h])
//   p[j] = exp(scale q[i,h].k[j,g] - lse[i,h]);   stats = (lse, delta)
//   SOFTCAP: p[j] of the scores s that attention.wgsl has then, and ds[j] times their slope, 1 - (s[j] / softcap)^2
//   j = bounds[i].x .. i;   g = h / (H/G).   prefix: j = bounds[i].x .. bounds[i].y - 1, any rows of k and v
//   after_prefix: adds to what that run left in dq
// Shapes    q, d_o f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; stats f32 [N,H,2]; out dq f32 [N,H*D];
//           D = 4*vectors
// Dispatch  a lane takes 4 pairs (row, query head of a key head), counted row by row, and visits 4 keys at a time;
//           neighbour lanes take the key heads: ceil(ceil(N*(H/G)/4)*G/WG) workgroups, folded to 2-D
// Numerics  f32, keys strictly in order
// Cost      no lane waits for another. A tile of 4 x 4 loads each value for 4 products; nothing is indexed at run time
//           but buffers (the sums lie in dq), so that one pipeline serves every D
// Twin      src/ops/attention/attention_f64.ts#attentionGradF64
import package::lib::attention::{all_keys, k, params};
import package::lib::attention_grad::{dq, stats};
import package::lib::attention_grad_tile::products;
import package::lib::attention_tile::{four_from, kv_bases_of, own_pairs, totals, within};
import package::lib::grid::{Place, WG, lane_number};
import package::lib::softcap::{capped_four, slope_four};

@compute @workgroup_size(WG)
fn main(place: Place) {
  let own = own_pairs(lane_number(place));
  if (own.first >= own.count) { return; }
  let bases = own.slots * params.vectors;
  var lse: vec4f;
  var delta: vec4f;
  for (var r = 0u; r < 4u; r++) {
    lse[r] = stats[own.slots[r]].x;
    delta[r] = stats[own.slots[r]].y;
  }
  for (var r = 0u; r < 4u; r++) {
    if (params.after_prefix == 0u) {
      for (var c = 0u; c < params.vectors; c++) { dq[bases[r] + c] = vec4f(); }
    }
  }
  let keys = all_keys(own.rows.x, own.rows.w);
  for (var j = keys.x; j < keys.y; j += 4u) {
    let kv_bases = kv_bases_of(four_from(j, keys.y), own.kv_head);
    var made = products(bases, kv_bases);
    var ds: mat4x4f;  // by key, then by pair
    for (var n = 0u; n < 4u; n++) {
      let dots = mat4x4f(made.dots[0][n], made.dots[1][n], made.dots[2][n], made.dots[3][n]);
      let pulls = mat4x4f(made.pulls[0][n], made.pulls[1][n], made.pulls[2][n], made.pulls[3][n]);
      @if(SOFTCAP) let scores = capped_four(params.scale * totals(dots), params.softcap);
      @else let scores = params.scale * totals(dots);
      @if(SOFTCAP) let factor = params.scale * slope_four(scores, params.softcap);
      @else let factor = params.scale;
      let rise = scores - lse;
      let pulled = totals(pulls) - delta;
      let seen = within(j + n, own.seen);
      ds[n] = select(vec4f(), factor * exp(min(rise, vec4f(1.0))) * pulled, seen);
    }
    for (var c = 0u; c < params.vectors; c++) {
      var sum: mat4x4f;
      for (var r = 0u; r < 4u; r++) { sum[r] = dq[bases[r] + c]; }
      for (var n = 0u; n < 4u; n++) {
        let key = k[kv_bases[n] + c];
        for (var r = 0u; r < 4u; r++) { sum[r] = fma(key, vec4f(ds[n][r]), sum[r]); }
      }
      for (var r = 0u; r < 4u; r++) { dq[bases[r] + c] = sum[r]; }
    }
  }
}
