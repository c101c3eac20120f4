// attention_grad_q_simd8: attention_grad_q for subgroups of 8 lanes. The same sums, the same bits.
//   dq[i,h] = sum_j ds[j] k[j,g],   ds[j] = scale p[j] (do[i,h].v[j,g] - delta[i,h]),   p[j] = exp(scale q[i,h].k[j,g] - lse[i,h])
//   stats = (lse, delta);   j = bounds[i].x .. i;   g = h / (H/G)
//   prefix: j = bounds[i].x .. bounds[i].y - 1, any rows of k and v. after_prefix: adds to what that run left in dq
// Shapes    as attention_grad_q.wgsl: q, d_o f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; stats f32 [N,H,2];
//           out dq f32 [N,H*D]; D = 4*vectors <= 128
// Dispatch  a workgroup is one subgroup, a lane for each of 8 rows of a head: ceil(N/8)*H workgroups, folded to 2-D
// Numerics  f32, keys strictly in order
// Why       A lane of a CPU's subgroup loads one value at a time. The 8 lanes load 8 keys between them, one each, and
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
@group(0) @binding(6) var<storage, read_write> dq: array<vec4f>;
@group(0) @binding(7) var<uniform> params: Params;

fn pull_on(dots: vec4f, pulls: vec4f, stat: vec2f, seen: bool) -> f32 {
  let score = params.scale * ((dots.x + dots.y) + (dots.z + dots.w));
  let pull = (pulls.x + pulls.y) + (pulls.z + pulls.w);
  return select(0.0, params.scale * exp(min(score - stat.x, 1.0)) * (pull - stat.y), seen);
}

// The first key that any of these rows sees, and the one after the last.
fn all_keys(first_row: u32, last_row: u32) -> vec2u {
  if (params.prefix == 0u) { return vec2u(u32(bounds[first_row].x), last_row + 1u); }
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
  let head = index % params.heads;
  let first_row = index / params.heads * 8u;
  if (first_row >= params.rows) { return; }
  let last_row = min(first_row + 8u, params.rows) - 1u;
  let row = min(first_row + lane, last_row);  // lanes past the end repeat the last row
  let own = vec2u(bounds[row]);
  let end = select(row + 1u, own.y, params.prefix == 1u);
  let stat = stats[row * params.heads + head];
  let q_base = (row * params.heads + head) * params.vectors;
  let kv_head = head / (params.heads / params.kv_heads);

  var query: array<vec4f, 32>;
  var upstream: array<vec4f, 32>;
  var sum: array<vec4f, 32>;
  for (var c = 0u; c < params.vectors; c++) {
    query[c] = q[q_base + c];
    upstream[c] = d_o[q_base + c];
    sum[c] = vec4f();
    if (params.after_prefix == 1u) { sum[c] = dq[q_base + c]; }
  }
  let keys = all_keys(first_row, last_row);
  for (var j = keys.x; j < keys.y; j += 8u) {
    let kv_base = (min(j + lane, keys.y - 1u) * params.kv_heads + kv_head) * params.vectors;
    var dots0 = vec4f(); var dots1 = vec4f(); var dots2 = vec4f(); var dots3 = vec4f(); var dots4 = vec4f(); var dots5 = vec4f(); var dots6 = vec4f(); var dots7 = vec4f();
    var pulls0 = vec4f(); var pulls1 = vec4f(); var pulls2 = vec4f(); var pulls3 = vec4f(); var pulls4 = vec4f(); var pulls5 = vec4f(); var pulls6 = vec4f(); var pulls7 = vec4f();
    for (var c = 0u; c < params.vectors; c++) {
      let my_key = k[kv_base + c];
      let my_value = v[kv_base + c];
      let query_c = query[c];
      let upstream_c = upstream[c];
      dots0 = fma(query_c, subgroupBroadcast(my_key, 0u), dots0);
      pulls0 = fma(upstream_c, subgroupBroadcast(my_value, 0u), pulls0);
      dots1 = fma(query_c, subgroupBroadcast(my_key, 1u), dots1);
      pulls1 = fma(upstream_c, subgroupBroadcast(my_value, 1u), pulls1);
      dots2 = fma(query_c, subgroupBroadcast(my_key, 2u), dots2);
      pulls2 = fma(upstream_c, subgroupBroadcast(my_value, 2u), pulls2);
      dots3 = fma(query_c, subgroupBroadcast(my_key, 3u), dots3);
      pulls3 = fma(upstream_c, subgroupBroadcast(my_value, 3u), pulls3);
      dots4 = fma(query_c, subgroupBroadcast(my_key, 4u), dots4);
      pulls4 = fma(upstream_c, subgroupBroadcast(my_value, 4u), pulls4);
      dots5 = fma(query_c, subgroupBroadcast(my_key, 5u), dots5);
      pulls5 = fma(upstream_c, subgroupBroadcast(my_value, 5u), pulls5);
      dots6 = fma(query_c, subgroupBroadcast(my_key, 6u), dots6);
      pulls6 = fma(upstream_c, subgroupBroadcast(my_value, 6u), pulls6);
      dots7 = fma(query_c, subgroupBroadcast(my_key, 7u), dots7);
      pulls7 = fma(upstream_c, subgroupBroadcast(my_value, 7u), pulls7);
    }
    let ds0 = pull_on(dots0, pulls0, stat, j + 0u >= own.x && j + 0u < end);
    let ds1 = pull_on(dots1, pulls1, stat, j + 1u >= own.x && j + 1u < end);
    let ds2 = pull_on(dots2, pulls2, stat, j + 2u >= own.x && j + 2u < end);
    let ds3 = pull_on(dots3, pulls3, stat, j + 3u >= own.x && j + 3u < end);
    let ds4 = pull_on(dots4, pulls4, stat, j + 4u >= own.x && j + 4u < end);
    let ds5 = pull_on(dots5, pulls5, stat, j + 5u >= own.x && j + 5u < end);
    let ds6 = pull_on(dots6, pulls6, stat, j + 6u >= own.x && j + 6u < end);
    let ds7 = pull_on(dots7, pulls7, stat, j + 7u >= own.x && j + 7u < end);
    for (var c = 0u; c < params.vectors; c++) {
      let my_key = k[kv_base + c];
      var sum_c = sum[c];
      sum_c = fma(subgroupBroadcast(my_key, 0u), vec4f(ds0), sum_c);
      sum_c = fma(subgroupBroadcast(my_key, 1u), vec4f(ds1), sum_c);
      sum_c = fma(subgroupBroadcast(my_key, 2u), vec4f(ds2), sum_c);
      sum_c = fma(subgroupBroadcast(my_key, 3u), vec4f(ds3), sum_c);
      sum_c = fma(subgroupBroadcast(my_key, 4u), vec4f(ds4), sum_c);
      sum_c = fma(subgroupBroadcast(my_key, 5u), vec4f(ds5), sum_c);
      sum_c = fma(subgroupBroadcast(my_key, 6u), vec4f(ds6), sum_c);
      sum_c = fma(subgroupBroadcast(my_key, 7u), vec4f(ds7), sum_c);
      sum[c] = sum_c;
    }
  }
  if (first_row + lane > last_row) { return; }
  for (var c = 0u; c < params.vectors; c++) {
    dq[q_base + c] = sum[c];
  }
}
