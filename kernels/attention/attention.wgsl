// attention: causal softmax attention of packed sequences, without an [N,N] matrix.
//   o[i,h] = sum_j p[j] v[j,g] / sum_j p[j],   p[j] = exp(s[j] - m),   s[j] = scale q[i,h].k[j,g],   m = max_j s[j]
//   SOFTCAP: s[j] = softcap tanh(scale q[i,h].k[j,g] / softcap)
//   softmax[i,h] = (m, sum_j p[j]);   j = bounds[i].x .. i;   g = h / (H/G), the key head of query head h
//   Shared keys before a sequence's own take two runs, which add as one would. prefix: any rows of k and v,
//   j = bounds[i].x .. bounds[i].y - 1; o is left undivided. after_prefix: continues from its o and softmax
// Shapes    q f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; out o f32 [N,H*D], softmax f32 [N,H,2]; D = 4*vectors
// Dispatch  a lane takes 4 pairs (row, query head of a key head), counted row by row, and visits 4 keys at a time;
//           neighbour lanes take the key heads: ceil(ceil(N*(H/G)/4)*G/WG) workgroups, folded to 2-D
// Numerics  f32, keys strictly in order with a running maximum: a row's bits depend on its own sequence only. A key
//           that a row of the tile must not see gets weight 0 and no say in the maximum. All inputs must be finite
// Cost      no lane waits for another. A tile of 4 x 4 loads each value for 4 products; nothing is indexed at run time
//           but buffers (the sums lie in o), so that one pipeline serves every D
// Twin      src/ops/attention/attention_f64.ts#attentionF64     Gradient: attention_grad_*.wgsl
import package::lib::attention::{all_keys, k, o, params, q, softmax, v};
import package::lib::attention_tile::{four_from, kv_bases_of, own_pairs, totals, within};
import package::lib::grid::{Place, WG, lane_number};
import package::lib::running_softmax::LEAST;
import package::lib::softcap::capped_four;

@compute @workgroup_size(WG)
fn main(place: Place) {
  let own = own_pairs(lane_number(place));
  if (own.first >= own.count) { return; }
  let slots = own.slots;
  let bases = slots * params.vectors;
  var most = vec4f(LEAST);
  var weights = vec4f();
  for (var r = 0u; r < 4u; r++) {
    if (params.after_prefix == 1u) {
      most[r] = softmax[slots[r]].x;
      weights[r] = softmax[slots[r]].y;
    } else {
      for (var c = 0u; c < params.vectors; c++) { o[bases[r] + c] = vec4f(); }
    }
  }
  let keys = all_keys(own.rows.x, own.rows.w);
  for (var j = keys.x; j < keys.y; j += 4u) {
    let kv_bases = kv_bases_of(four_from(j, keys.y), own.kv_head);
    var dots = array<mat4x4f, 4>();  // by key, then by pair: four partial sums
    for (var c = 0u; c < params.vectors; c++) {
      var key: mat4x4f;
      for (var n = 0u; n < 4u; n++) { key[n] = k[kv_bases[n] + c]; }
      for (var r = 0u; r < 4u; r++) {
        let query = q[bases[r] + c] * params.scale;
        for (var n = 0u; n < 4u; n++) { dots[n][r] = fma(query, key[n], dots[n][r]); }
      }
    }
    var keep: mat4x4f;  // by key, then by pair: what the sums so far keep
    var p: mat4x4f;     // the key's weight
    for (var n = 0u; n < 4u; n++) {
      @if(SOFTCAP) let score = capped_four(totals(dots[n]), params.softcap);
      @else let score = totals(dots[n]);
      let seen = within(j + n, own.seen);
      let rise = score - most;
      let shrunk = exp(-abs(rise));  // the one exponential: of the old maximum or of this key
      let rises = seen & (rise > vec4f());
      keep[n] = select(vec4f(1.0), shrunk, rises);
      p[n] = select(select(vec4f(), shrunk, seen), vec4f(1.0), rises);
      most = select(most, score, rises);
      weights = fma(weights, keep[n], p[n]);
    }
    for (var c = 0u; c < params.vectors; c++) {
      var sum: mat4x4f;
      for (var r = 0u; r < 4u; r++) { sum[r] = o[bases[r] + c]; }
      for (var n = 0u; n < 4u; n++) {
        let value = v[kv_bases[n] + c];
        for (var r = 0u; r < 4u; r++) { sum[r] = fma(value, vec4f(p[n][r]), sum[r] * keep[n][r]); }
      }
      for (var r = 0u; r < 4u; r++) { o[bases[r] + c] = sum[r]; }
    }
  }
  for (var r = 0u; r < 4u && own.first + r < own.count; r++) {
    softmax[slots[r]] = vec2f(most[r], weights[r]);
    if (params.prefix == 0u) {
      for (var c = 0u; c < params.vectors; c++) { o[bases[r] + c] = o[bases[r] + c] / weights[r]; }
    }
  }
}
