// attention_grad_kv_simd8: attention_grad_kv for subgroups of 8 lanes. The same sums, the same bits.
//   dv[j,g] = sum_i sum_h p[i,h] do[i,h],   dk[j,g] = sum_i sum_h ds[i,h] q[i,h]
//   p[i,h] = exp(scale q[i,h].k[j,g] - lse[i,h]),   ds[i,h] = scale p[i,h] (do[i,h].v[j,g] - delta[i,h]);   stats = (lse, delta)
//   h: the H/G query heads of key head g;   i = j .. bounds[j].y - 1
//   prefix: i = bounds[j].x .. bounds[j].y - 1, any rows of q; adds to what dk and dv hold
// Shapes    as attention_grad_kv.wgsl: q, d_o f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; stats f32 [N,H,2];
//           out dk, dv f32 [N,G*D]; D = 4*vectors <= 128
// Dispatch  a workgroup is one subgroup, a lane for each of 8 rows of a key head: ceil(N/8)*G workgroups, folded to 2-D
// Numerics  f32, queries and then heads strictly in order
// Why       A lane of a CPU's subgroup loads one value at a time. The 8 lanes load 8 queries between them, one each, and
//           broadcast: an eighth of the loads of the plain kernel. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/attention/attention_f64.ts#attentionGradF64
enable subgroups;

struct Params { rows: u32, heads: u32, kv_heads: u32, scale: f32, vectors: u32, prefix: u32, after_prefix: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> bounds: array<vec2i>;
@group(0) @binding(4) var<storage, read> stats: array<vec2f>;
@group(0) @binding(5) var<storage, read> d_o: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> dk: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> dv: array<vec4f>;
@group(0) @binding(8) var<uniform> params: Params;

// (p, ds) of one query.
fn weigh(dots: vec4f, pulls: vec4f, stat: vec2f, seen: bool) -> vec2f {
  let score = params.scale * ((dots.x + dots.y) + (dots.z + dots.w));
  let pull = (pulls.x + pulls.y) + (pulls.z + pulls.w);
  let p = select(0.0, exp(min(score - stat.x, 1.0)), seen);
  return vec2f(p, params.scale * p * (pull - stat.y));
}

// The first query that sees any of these rows, and the one after the last.
fn all_queries(first_row: u32, last_row: u32) -> vec2u {
  if (params.prefix == 0u) { return vec2u(first_row, u32(bounds[last_row].y)); }
  var all = vec2u(0xffffffffu, 0u);
  for (var row = first_row; row <= last_row; row++) {
    let own = vec2u(bounds[row]);
    if (own.x < own.y) { all = vec2u(min(all.x, own.x), max(all.y, own.y)); }
  }
  return all;
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.x + group.y * groups.x;
  let kv_head = index % params.kv_heads;
  let first_row = index / params.kv_heads * 8u;
  if (first_row >= params.rows) { return; }
  let last_row = min(first_row + 8u, params.rows) - 1u;
  let row = min(first_row + lane, last_row);  // lanes past the end repeat the last row
  let own = vec2u(bounds[row]);
  let begin = select(row, own.x, params.prefix == 1u);
  let queries = all_queries(first_row, last_row);
  let kv_base = (row * params.kv_heads + kv_head) * params.vectors;
  let sharing = params.heads / params.kv_heads;
  let own_pairs = vec2u(begin, own.y) * sharing;

  var key: array<vec4f, 32>;
  var value: array<vec4f, 32>;
  var key_sum: array<vec4f, 32>;
  var value_sum: array<vec4f, 32>;
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
  let pairs = queries * sharing;
  for (var n = pairs.x; n < pairs.y; n += 8u) {
    let my_pair = min(n + lane, pairs.y - 1u);
    let my_index = my_pair / sharing * params.heads + kv_head * sharing + my_pair % sharing;
    let my_stat = stats[my_index];
    let q_base = my_index * params.vectors;
    var dots0 = vec4f(); var dots1 = vec4f(); var dots2 = vec4f(); var dots3 = vec4f(); var dots4 = vec4f(); var dots5 = vec4f(); var dots6 = vec4f(); var dots7 = vec4f();
    var pulls0 = vec4f(); var pulls1 = vec4f(); var pulls2 = vec4f(); var pulls3 = vec4f(); var pulls4 = vec4f(); var pulls5 = vec4f(); var pulls6 = vec4f(); var pulls7 = vec4f();
    for (var c = 0u; c < params.vectors; c++) {
      let my_query = q[q_base + c];
      let my_upstream = d_o[q_base + c];
      let key_c = key[c];
      let value_c = value[c];
      dots0 = fma(subgroupBroadcast(my_query, 0u), key_c, dots0);
      pulls0 = fma(subgroupBroadcast(my_upstream, 0u), value_c, pulls0);
      dots1 = fma(subgroupBroadcast(my_query, 1u), key_c, dots1);
      pulls1 = fma(subgroupBroadcast(my_upstream, 1u), value_c, pulls1);
      dots2 = fma(subgroupBroadcast(my_query, 2u), key_c, dots2);
      pulls2 = fma(subgroupBroadcast(my_upstream, 2u), value_c, pulls2);
      dots3 = fma(subgroupBroadcast(my_query, 3u), key_c, dots3);
      pulls3 = fma(subgroupBroadcast(my_upstream, 3u), value_c, pulls3);
      dots4 = fma(subgroupBroadcast(my_query, 4u), key_c, dots4);
      pulls4 = fma(subgroupBroadcast(my_upstream, 4u), value_c, pulls4);
      dots5 = fma(subgroupBroadcast(my_query, 5u), key_c, dots5);
      pulls5 = fma(subgroupBroadcast(my_upstream, 5u), value_c, pulls5);
      dots6 = fma(subgroupBroadcast(my_query, 6u), key_c, dots6);
      pulls6 = fma(subgroupBroadcast(my_upstream, 6u), value_c, pulls6);
      dots7 = fma(subgroupBroadcast(my_query, 7u), key_c, dots7);
      pulls7 = fma(subgroupBroadcast(my_upstream, 7u), value_c, pulls7);
    }
    let w0 = weigh(dots0, pulls0, subgroupBroadcast(my_stat, 0u), n + 0u >= own_pairs.x && n + 0u < own_pairs.y);
    let w1 = weigh(dots1, pulls1, subgroupBroadcast(my_stat, 1u), n + 1u >= own_pairs.x && n + 1u < own_pairs.y);
    let w2 = weigh(dots2, pulls2, subgroupBroadcast(my_stat, 2u), n + 2u >= own_pairs.x && n + 2u < own_pairs.y);
    let w3 = weigh(dots3, pulls3, subgroupBroadcast(my_stat, 3u), n + 3u >= own_pairs.x && n + 3u < own_pairs.y);
    let w4 = weigh(dots4, pulls4, subgroupBroadcast(my_stat, 4u), n + 4u >= own_pairs.x && n + 4u < own_pairs.y);
    let w5 = weigh(dots5, pulls5, subgroupBroadcast(my_stat, 5u), n + 5u >= own_pairs.x && n + 5u < own_pairs.y);
    let w6 = weigh(dots6, pulls6, subgroupBroadcast(my_stat, 6u), n + 6u >= own_pairs.x && n + 6u < own_pairs.y);
    let w7 = weigh(dots7, pulls7, subgroupBroadcast(my_stat, 7u), n + 7u >= own_pairs.x && n + 7u < own_pairs.y);
    for (var c = 0u; c < params.vectors; c++) {
      let my_query = q[q_base + c];
      let my_upstream = d_o[q_base + c];
      var key_c = key_sum[c];
      var value_c = value_sum[c];
      value_c = fma(subgroupBroadcast(my_upstream, 0u), vec4f(w0.x), value_c);
      key_c = fma(subgroupBroadcast(my_query, 0u), vec4f(w0.y), key_c);
      value_c = fma(subgroupBroadcast(my_upstream, 1u), vec4f(w1.x), value_c);
      key_c = fma(subgroupBroadcast(my_query, 1u), vec4f(w1.y), key_c);
      value_c = fma(subgroupBroadcast(my_upstream, 2u), vec4f(w2.x), value_c);
      key_c = fma(subgroupBroadcast(my_query, 2u), vec4f(w2.y), key_c);
      value_c = fma(subgroupBroadcast(my_upstream, 3u), vec4f(w3.x), value_c);
      key_c = fma(subgroupBroadcast(my_query, 3u), vec4f(w3.y), key_c);
      value_c = fma(subgroupBroadcast(my_upstream, 4u), vec4f(w4.x), value_c);
      key_c = fma(subgroupBroadcast(my_query, 4u), vec4f(w4.y), key_c);
      value_c = fma(subgroupBroadcast(my_upstream, 5u), vec4f(w5.x), value_c);
      key_c = fma(subgroupBroadcast(my_query, 5u), vec4f(w5.y), key_c);
      value_c = fma(subgroupBroadcast(my_upstream, 6u), vec4f(w6.x), value_c);
      key_c = fma(subgroupBroadcast(my_query, 6u), vec4f(w6.y), key_c);
      value_c = fma(subgroupBroadcast(my_upstream, 7u), vec4f(w7.x), value_c);
      key_c = fma(subgroupBroadcast(my_query, 7u), vec4f(w7.y), key_c);
      key_sum[c] = key_c;
      value_sum[c] = value_c;
    }
  }
  if (first_row + lane > last_row) { return; }
  for (var c = 0u; c < params.vectors; c++) {
    dk[kv_base + c] = key_sum[c];
    dv[kv_base + c] = value_sum[c];
  }
}
