// attention_grad_kv: gradient of attention with respect to the keys and values.
//   dv[j,g] = sum_i sum_h p[i,h] do[i,h],   dk[j,g] = sum_i sum_h ds[i,h] q[i,h]
//   p[i,h] = exp(scale q[i,h].k[j,g] - lse[i,h]),   ds[i,h] = scale p[i,h] (do[i,h].v[j,g] - delta[i,h]);   stats = (lse, delta)
//   h: the H/G query heads of key head g;   i = j .. bounds[j].y - 1
//   PREFIX: i = bounds[j].x .. bounds[j].y - 1, any rows of q; adds to what dk and dv hold
// Shapes    q, d_o f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; stats f32 [N,H,2]; out dk, dv f32 [N,G*D]; D = 4*vectors <= 128
// Dispatch  one lane per (row, key head); a workgroup is WG rows of one key head: ceil(N/WG)*G workgroups, folded to 2-D
// Numerics  f32, queries and then heads strictly in order; see attention.wgsl for why a workgroup walks the queries of
//           all its rows
// Cost      4*D floats per lane in private memory, indexed at run time: one pipeline for every D, and quick to compile
//           (unrolled, lavapipe takes seconds at D = 16 and minutes at D = 128). Not tiled: no key is used twice per read
// Twin      src/ops/attention_f64.ts#attentionGradF64
override WG: u32 = 8u;
override PREFIX: bool = false;

struct Params { rows: u32, heads: u32, kv_heads: u32, scale: f32, vectors: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> bounds: array<vec2i>;
@group(0) @binding(4) var<storage, read> stats: array<vec2f>;
@group(0) @binding(5) var<storage, read> d_o: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> dk: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> dv: array<vec4f>;
@group(0) @binding(8) var<uniform> params: Params;

// The first query that sees any of these rows, and the one after the last.
fn all_queries(first_row: u32, last_row: u32) -> vec2u {
  if (!PREFIX) { return vec2u(first_row, u32(bounds[last_row].y)); }
  var all = vec2u(0xffffffffu, 0u);
  for (var row = first_row; row <= last_row; row++) {
    let own = vec2u(bounds[row]);
    if (own.x < own.y) { all = vec2u(min(all.x, own.x), max(all.y, own.y)); }
  }
  return all;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.x + group.y * groups.x;
  let kv_head = index % params.kv_heads;
  let first_row = index / params.kv_heads * WG;
  if (first_row >= params.rows) { return; }
  let last_row = min(first_row + WG, params.rows) - 1u;
  let row = min(first_row + lane, last_row);  // lanes past the end repeat the last row
  let own = vec2u(bounds[row]);
  let begin = select(row, own.x, PREFIX);
  let queries = all_queries(first_row, last_row);
  let kv_base = (row * params.kv_heads + kv_head) * params.vectors;
  let sharing = params.heads / params.kv_heads;

  var key: array<vec4f, 32>;
  var value: array<vec4f, 32>;
  var key_sum: array<vec4f, 32>;
  var value_sum: array<vec4f, 32>;
  for (var c = 0u; c < params.vectors; c++) {
    key[c] = k[kv_base + c];
    value[c] = v[kv_base + c];
    key_sum[c] = vec4f();
    value_sum[c] = vec4f();
    if (PREFIX) {
      key_sum[c] = dk[kv_base + c];
      value_sum[c] = dv[kv_base + c];
    }
  }
  for (var i = queries.x; i < queries.y; i++) {
    for (var head = kv_head * sharing; head < (kv_head + 1u) * sharing; head++) {
      let stat = stats[i * params.heads + head];
      let q_base = (i * params.heads + head) * params.vectors;
      var dots = vec4f();
      var pulls = vec4f();
      for (var c = 0u; c < params.vectors; c++) {
        dots = fma(q[q_base + c], key[c], dots);
        pulls = fma(d_o[q_base + c], value[c], pulls);
      }
      let score = params.scale * ((dots.x + dots.y) + (dots.z + dots.w));
      let pull = (pulls.x + pulls.y) + (pulls.z + pulls.w);
      let p = select(0.0, exp(min(score - stat.x, 1.0)), i >= begin && i < own.y);
      let ds = params.scale * p * (pull - stat.y);
      for (var c = 0u; c < params.vectors; c++) {
        value_sum[c] = fma(d_o[q_base + c], vec4f(p), value_sum[c]);
        key_sum[c] = fma(q[q_base + c], vec4f(ds), key_sum[c]);
      }
    }
  }
  if (first_row + lane > last_row) { return; }
  for (var c = 0u; c < params.vectors; c++) {
    dk[kv_base + c] = key_sum[c];
    dv[kv_base + c] = value_sum[c];
  }
}
