// attention_grad_q: gradient of attention with respect to the queries.
//   dq[i,h] = scale sum_j ds[j] k[j,g],   ds[j] = p[j] (do[i,h].v[j,g] - delta[i,h]),   p[j] = exp(scale q[i,h].k[j,g] - lse[i,h])
//   stats = (lse, delta);   j = bounds[i].x .. i;   g = h / (H/G)
// Shapes    q, d_o f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; stats f32 [N,H,2]; out dq f32 [N,H*D]; D = 4*HD4 <= 128
// Dispatch  one lane per (row, head, PART4 columns of dq); a workgroup is WG rows of one head and part:
//           ceil(N/WG)*H*ceil(HD4/PART4) workgroups, folded to 2-D
// Numerics  f32, keys strictly in order; see attention.wgsl for why a workgroup walks the keys of all its rows
// Cost      12*PART4 floats per lane in registers
// Twin      src/ops/attention.ts#attentionGradF64
override WG: u32 = 8u;
override HD4: u32 = 16u;
override PART4: u32 = 16u;  // vec4 columns that one lane sums, at most 20

struct Params { rows: u32, heads: u32, kv_heads: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> bounds: array<vec2i>;
@group(0) @binding(4) var<storage, read> stats: array<vec2f>;
@group(0) @binding(5) var<storage, read> d_o: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> dq: array<vec4f>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.x + group.y * groups.x;
  let parts = (HD4 + PART4 - 1u) / PART4;
  let part = index % parts * PART4;
  let head = index / parts % params.heads;
  let first_row = index / parts / params.heads * WG;
  if (first_row >= params.rows) { return; }
  let last_row = min(first_row + WG, params.rows) - 1u;
  let row = min(first_row + lane, last_row);  // lanes past the end repeat the last row
  let start = u32(bounds[row].x);
  let stat = stats[row * params.heads + head];
  let q_base = (row * params.heads + head) * HD4;
  let kv_head = head / (params.heads / params.kv_heads);

  var query: array<vec4f, 20>;  // used where a lane sums all columns; else q and d_o are read again for every key
  var upstream: array<vec4f, 20>;
  var sum: array<vec4f, 20>;
  for (var c = 0u; c < PART4; c++) {
    query[c] = q[q_base + c];
    upstream[c] = d_o[q_base + c];
    sum[c] = vec4f();
  }
  for (var j = u32(bounds[first_row].x); j <= last_row; j++) {
    let kv_base = (j * params.kv_heads + kv_head) * HD4;
    var dots = vec4f();
    var pulls = vec4f();
    if (PART4 == HD4) {
      for (var c = 0u; c < PART4; c++) {
        dots = fma(query[c], k[kv_base + c], dots);
        pulls = fma(upstream[c], v[kv_base + c], pulls);
      }
    } else {
      for (var c = 0u; c < HD4; c++) {
        dots = fma(q[q_base + c], k[kv_base + c], dots);
        pulls = fma(d_o[q_base + c], v[kv_base + c], pulls);
      }
    }
    let score = params.scale * ((dots.x + dots.y) + (dots.z + dots.w));
    let pull = (pulls.x + pulls.y) + (pulls.z + pulls.w);
    let seen = j >= start && j <= row;
    let ds = select(0.0, exp(min(score - stat.x, 1.0)) * (pull - stat.y), seen);
    for (var c = 0u; c < PART4; c++) { sum[c] = fma(k[kv_base + part + c], vec4f(ds), sum[c]); }
  }
  if (first_row + lane > last_row) { return; }
  for (var c = 0u; c < PART4; c++) {
    if (part + c < HD4) { dq[q_base + part + c] = sum[c] * params.scale; }
  }
}
