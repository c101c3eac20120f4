// attention_grad_q: gradient of attention with respect to the queries.
//   dq[i,h] = sum_j ds[j] k[j,g],   ds[j] = scale p[j] (do[i,h].v[j,g] - delta[i,h]),   p[j] = exp(scale q[i,h].k[j,g] - lse[i,h])
//   stats = (lse, delta);   j = bounds[i].x .. i;   g = h / (H/G)
//   PREFIX: j = bounds[i].x .. bounds[i].y - 1, any rows of k and v. AFTER_PREFIX: adds to what that run left in dq
// Shapes    q, d_o f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; stats f32 [N,H,2]; out dq f32 [N,H*D]; D = 4*vectors <= 128
// Dispatch  one lane per (row, head); a workgroup is WG rows of one head: ceil(N/WG)*H workgroups, folded to 2-D
// Numerics  f32, keys strictly in order; see attention.wgsl for why a workgroup walks the keys of all its rows
// Cost      3*D floats per lane in private memory, indexed at run time: one pipeline for every D, and quick to compile
//           (unrolled, lavapipe takes seconds at D = 16 and minutes at D = 128). Not tiled: no key is used twice per read
// Twin      src/ops/attention_f64.ts#attentionGradF64
override WG: u32 = 8u;
override PREFIX: bool = false;
override AFTER_PREFIX: bool = false;

struct Params { rows: u32, heads: u32, kv_heads: u32, scale: f32, vectors: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> bounds: array<vec2i>;
@group(0) @binding(4) var<storage, read> stats: array<vec2f>;
@group(0) @binding(5) var<storage, read> d_o: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> dq: array<vec4f>;
@group(0) @binding(7) var<uniform> params: Params;

// The first key that any of these rows sees, and the one after the last.
fn all_keys(first_row: u32, last_row: u32) -> vec2u {
  if (!PREFIX) { return vec2u(u32(bounds[first_row].x), last_row + 1u); }
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
  let head = index % params.heads;
  let first_row = index / params.heads * WG;
  if (first_row >= params.rows) { return; }
  let last_row = min(first_row + WG, params.rows) - 1u;
  let row = min(first_row + lane, last_row);  // lanes past the end repeat the last row
  let own = vec2u(bounds[row]);
  let end = select(row + 1u, own.y, PREFIX);
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
    if (AFTER_PREFIX) { sum[c] = dq[q_base + c]; }
  }
  let keys = all_keys(first_row, last_row);
  for (var j = keys.x; j < keys.y; j++) {
    let kv_base = (j * params.kv_heads + kv_head) * params.vectors;
    var dots = vec4f();
    var pulls = vec4f();
    for (var c = 0u; c < params.vectors; c++) {
      dots = fma(query[c], k[kv_base + c], dots);
      pulls = fma(upstream[c], v[kv_base + c], pulls);
    }
    let score = params.scale * ((dots.x + dots.y) + (dots.z + dots.w));
    let pull = (pulls.x + pulls.y) + (pulls.z + pulls.w);
    let seen = j >= own.x && j < end;
    let ds = select(0.0, params.scale * exp(min(score - stat.x, 1.0)) * (pull - stat.y), seen);
    for (var c = 0u; c < params.vectors; c++) { sum[c] = fma(k[kv_base + c], vec4f(ds), sum[c]); }
  }
  if (first_row + lane > last_row) { return; }
  for (var c = 0u; c < params.vectors; c++) {
    dq[q_base + c] = sum[c];
  }
}
