// attention: causal softmax attention of packed sequences, without an [N,N] matrix.
//   o[i,h] = sum_j p[j] v[j,g] / sum_j p[j],   p[j] = exp(s[j] - m),   s[j] = scale q[i,h].k[j,g],   m = max_j s[j]
//   softmax[i,h] = (m, sum_j p[j]);   j = bounds[i].x .. i;   g = h / (H/G), the key head of query head h
//   Shared keys before a sequence's own take two runs, which add as one would. PREFIX: j = bounds[i].x .. bounds[i].y - 1,
//   any rows of k and v; o is left undivided. AFTER_PREFIX: continues from what that run left in o and softmax
// Shapes    q f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; out o f32 [N,H*D], softmax f32 [N,H,2]; D = 4*vectors <= 128
// Dispatch  one lane per (row, head); a workgroup is WG rows of one head: ceil(N/WG)*H workgroups, folded to 2-D
// Numerics  f32, keys strictly in order with a running maximum: a row's bits depend on its own sequence only.
//           A workgroup walks the keys of all its rows, so that k and v are read at addresses equal in all lanes;
//           a key that a row must not see gets weight 0 and no say in the maximum. All inputs must be finite.
// Cost      2*D floats per lane in private memory, indexed at run time: one pipeline for every D, and quick to compile
//           (unrolled, lavapipe takes seconds at D = 16 and minutes at D = 128). Not tiled: no key is used twice per read
// Twin      src/ops/attention_f64.ts#attentionF64     Gradient: attention_grad_*.wgsl
override WG: u32 = 8u;
override PREFIX: bool = false;
override AFTER_PREFIX: bool = false;

struct Params { rows: u32, heads: u32, kv_heads: u32, scale: f32, vectors: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> bounds: array<vec2i>;
@group(0) @binding(4) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> softmax: array<vec2f>;
@group(0) @binding(6) var<uniform> params: Params;

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
  let q_base = (row * params.heads + head) * params.vectors;
  let kv_head = head / (params.heads / params.kv_heads);

  var query: array<vec4f, 32>;
  var sum: array<vec4f, 32>;
  for (var c = 0u; c < params.vectors; c++) {
    query[c] = q[q_base + c] * params.scale;
    sum[c] = vec4f();
    if (AFTER_PREFIX) { sum[c] = o[q_base + c]; }
  }
  var most = -3.0e38;
  var weights = 0.0;
  if (AFTER_PREFIX) {
    most = softmax[row * params.heads + head].x;
    weights = softmax[row * params.heads + head].y;
  }
  let keys = all_keys(first_row, last_row);
  for (var j = keys.x; j < keys.y; j++) {
    let kv_base = (j * params.kv_heads + kv_head) * params.vectors;
    var dots = vec4f();
    for (var c = 0u; c < params.vectors; c++) { dots = fma(query[c], k[kv_base + c], dots); }
    let score = (dots.x + dots.y) + (dots.z + dots.w);
    let seen = j >= own.x && j < end;
    let rise = score - most;
    let shrunk = exp(-abs(rise));  // the one exponential: of the old maximum or of this key
    let rises = seen && rise > 0.0;
    let keep = select(1.0, shrunk, rises);
    let p = select(select(0.0, shrunk, seen), 1.0, rises);
    most = select(most, score, rises);
    weights = fma(weights, keep, p);
    for (var c = 0u; c < params.vectors; c++) { sum[c] = fma(v[kv_base + c], vec4f(p), sum[c] * keep); }
  }
  if (first_row + lane > last_row) { return; }
  let divisor = select(weights, 1.0, PREFIX);
  for (var c = 0u; c < params.vectors; c++) { o[q_base + c] = sum[c] / divisor; }
  softmax[row * params.heads + head] = vec2f(most, weights);
}
