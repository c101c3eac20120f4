// attention_simd8: attention for subgroups of 8 lanes. The same sums, the same bits.
//   o[i,h] = sum_j p[j] v[j,g] / sum_j p[j],   p[j] = exp(s[j] - m),   s[j] = scale q[i,h].k[j,g],   m = max_j s[j]
//   softmax[i,h] = (m, sum_j p[j]);   j = bounds[i].x .. i;   g = h / (H/G), the key head of query head h
//   Shared keys before a sequence's own take two runs, which add as one would. prefix: j = bounds[i].x .. bounds[i].y - 1,
//   any rows of k and v; o is left undivided. after_prefix: continues from what that run left in o and softmax
// Shapes    as attention.wgsl: q f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; out o f32 [N,H*D], softmax f32 [N,H,2];
//           D = 4*vectors <= 128
// Dispatch  a workgroup is one subgroup, a lane for each of 8 rows of a head: ceil(N/8)*H workgroups, folded to 2-D
// Numerics  f32, keys strictly in order with a running maximum; a key that a row must not see gets weight 0
// Why       A lane of a CPU's subgroup loads one value at a time. The 8 lanes load 8 keys between them, one each, and
//           broadcast: an eighth of the loads of the plain kernel. Chosen where subgroups are 8 wide: software GPUs
// Twin      src/ops/attention/attention_f64.ts#attentionF64     Gradient: attention_grad_*.wgsl
enable subgroups;

struct Params { rows: u32, heads: u32, kv_heads: u32, scale: f32, vectors: u32, prefix: u32, after_prefix: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> bounds: array<vec2i>;
@group(0) @binding(4) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> softmax: array<vec2f>;
@group(0) @binding(6) var<uniform> params: Params;

var<private> most: f32 = -3.0e38;
var<private> weights: f32 = 0.0;

// Takes one key's score into the running maximum and sum. Returns (what the sums so far keep, the key's weight).
fn weigh(dots: vec4f, seen: bool) -> vec2f {
  let score = (dots.x + dots.y) + (dots.z + dots.w);
  let rise = score - most;
  let shrunk = exp(-abs(rise));  // the one exponential: of the old maximum or of this key
  let rises = seen && rise > 0.0;
  let keep = select(1.0, shrunk, rises);
  let p = select(select(0.0, shrunk, seen), 1.0, rises);
  most = select(most, score, rises);
  weights = fma(weights, keep, p);
  return vec2f(keep, p);
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
  let q_base = (row * params.heads + head) * params.vectors;
  let kv_head = head / (params.heads / params.kv_heads);

  var query: array<vec4f, 32>;
  var sum: array<vec4f, 32>;
  for (var c = 0u; c < params.vectors; c++) {
    query[c] = q[q_base + c] * params.scale;
    sum[c] = vec4f();
    if (params.after_prefix == 1u) { sum[c] = o[q_base + c]; }
  }
  if (params.after_prefix == 1u) {
    most = softmax[row * params.heads + head].x;
    weights = softmax[row * params.heads + head].y;
  }
  let keys = all_keys(first_row, last_row);
  for (var j = keys.x; j < keys.y; j += 8u) {
    let kv_base = (min(j + lane, keys.y - 1u) * params.kv_heads + kv_head) * params.vectors;
    var dots0 = vec4f(); var dots1 = vec4f(); var dots2 = vec4f(); var dots3 = vec4f(); var dots4 = vec4f(); var dots5 = vec4f(); var dots6 = vec4f(); var dots7 = vec4f();
    for (var c = 0u; c < params.vectors; c++) {
      let mine = k[kv_base + c];
      let query_c = query[c];
      dots0 = fma(query_c, subgroupBroadcast(mine, 0u), dots0);
      dots1 = fma(query_c, subgroupBroadcast(mine, 1u), dots1);
      dots2 = fma(query_c, subgroupBroadcast(mine, 2u), dots2);
      dots3 = fma(query_c, subgroupBroadcast(mine, 3u), dots3);
      dots4 = fma(query_c, subgroupBroadcast(mine, 4u), dots4);
      dots5 = fma(query_c, subgroupBroadcast(mine, 5u), dots5);
      dots6 = fma(query_c, subgroupBroadcast(mine, 6u), dots6);
      dots7 = fma(query_c, subgroupBroadcast(mine, 7u), dots7);
    }
    let w0 = weigh(dots0, j + 0u >= own.x && j + 0u < end);
    let w1 = weigh(dots1, j + 1u >= own.x && j + 1u < end);
    let w2 = weigh(dots2, j + 2u >= own.x && j + 2u < end);
    let w3 = weigh(dots3, j + 3u >= own.x && j + 3u < end);
    let w4 = weigh(dots4, j + 4u >= own.x && j + 4u < end);
    let w5 = weigh(dots5, j + 5u >= own.x && j + 5u < end);
    let w6 = weigh(dots6, j + 6u >= own.x && j + 6u < end);
    let w7 = weigh(dots7, j + 7u >= own.x && j + 7u < end);
    for (var c = 0u; c < params.vectors; c++) {
      let mine = v[kv_base + c];
      var sum_c = sum[c];
      sum_c = fma(subgroupBroadcast(mine, 0u), vec4f(w0.y), sum_c * w0.x);
      sum_c = fma(subgroupBroadcast(mine, 1u), vec4f(w1.y), sum_c * w1.x);
      sum_c = fma(subgroupBroadcast(mine, 2u), vec4f(w2.y), sum_c * w2.x);
      sum_c = fma(subgroupBroadcast(mine, 3u), vec4f(w3.y), sum_c * w3.x);
      sum_c = fma(subgroupBroadcast(mine, 4u), vec4f(w4.y), sum_c * w4.x);
      sum_c = fma(subgroupBroadcast(mine, 5u), vec4f(w5.y), sum_c * w5.x);
      sum_c = fma(subgroupBroadcast(mine, 6u), vec4f(w6.y), sum_c * w6.x);
      sum_c = fma(subgroupBroadcast(mine, 7u), vec4f(w7.y), sum_c * w7.x);
      sum[c] = sum_c;
    }
  }
  if (first_row + lane > last_row) { return; }
  let divisor = select(weights, 1.0, params.prefix == 1u);
  for (var c = 0u; c < params.vectors; c++) { o[q_base + c] = sum[c] / divisor; }
  softmax[row * params.heads + head] = vec2f(most, weights);
}
