// attention_grad_q: gradient of attention with respect to the queries.
//   dq[i,h] = sum_j ds[j] k[j,g],   ds[j] = scale p[j] (do[i,h].v[j,g] - delta[i,h]),   p[j] = exp(scale q[i,h].k[j,g] - lse[i,h])
//   stats = (lse, delta);   j = bounds[i].x .. i;   g = h / (H/G)
//   prefix: j = bounds[i].x .. bounds[i].y - 1, any rows of k and v. after_prefix: adds to what that run left in dq
// Shapes    q, d_o f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; stats f32 [N,H,2]; out dq f32 [N,H*D]; D = 4*vectors
// Dispatch  a lane takes 4 pairs (row, query head of a key head), counted row by row, and visits 4 keys at a time; neighbour
//           lanes take the key heads: ceil(ceil(N*(H/G)/4)*G/WG) workgroups, folded to 2-D
// Numerics  f32, keys strictly in order
// Cost      no lane waits for another. A tile of 4 x 4 loads each value for 4 products; nothing is indexed at run time but
//           buffers (the sums lie in dq), so that one pipeline serves every D
// Twin      src/ops/attention/attention_f64.ts#attentionGradF64
override WG: u32 = 32u;

struct Params { rows: u32, heads: u32, kv_heads: u32, scale: f32, vectors: u32, prefix: u32, after_prefix: u32 }
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
  if (params.prefix == 0u) { return vec2u(u32(bounds[first_row].x), last_row + 1u); }
  var all = vec2u(0xffffffffu, 0u);
  for (var row = first_row; row <= last_row; row++) {
    let own = vec2u(bounds[row]);
    if (own.x < own.y) { all = vec2u(min(all.x, own.x), max(all.y, own.y)); }
  }
  return all;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let flat = (group.x + group.y * groups.x) * WG + lane;
  let kv_head = flat % params.kv_heads;
  let sharing = params.heads / params.kv_heads;
  let first = flat / params.kv_heads * 4u;
  if (first >= params.rows * sharing) { return; }
  let last = min(first + 4u, params.rows * sharing) - 1u;
  let pairs = min(vec4u(first) + vec4u(0u, 1u, 2u, 3u), vec4u(last));  // past the end: the last again
  let rows = pairs / sharing;
  let slots = rows * params.heads + kv_head * sharing + pairs % sharing;
  let bases = slots * params.vectors;
  var begin = vec4u();
  var end = vec4u();
  for (var r = 0u; r < 4u; r++) {
    let own = vec2u(bounds[rows[r]]);
    begin[r] = own.x;
    end[r] = select(rows[r] + 1u, own.y, params.prefix == 1u);
  }

  var lse: vec4f;
  var delta: vec4f;
  for (var r = 0u; r < 4u; r++) {
    lse[r] = stats[slots[r]].x;
    delta[r] = stats[slots[r]].y;
    if (params.after_prefix == 0u) {
      for (var c = 0u; c < params.vectors; c++) { dq[bases[r] + c] = vec4f(); }
    }
  }
  let keys = all_keys(rows.x, rows.w);
  for (var j = keys.x; j < keys.y; j += 4u) {
    let kv_bases = (min(vec4u(j) + vec4u(0u, 1u, 2u, 3u), vec4u(keys.y - 1u)) * params.kv_heads + kv_head) * params.vectors;
    var dots = array<mat4x4f, 4>();  // by pair, then by key: four partial sums
    var pulls = array<mat4x4f, 4>();
    for (var c = 0u; c < params.vectors; c++) {
      var key: mat4x4f;
      var value: mat4x4f;
      for (var n = 0u; n < 4u; n++) {
        key[n] = k[kv_bases[n] + c];
        value[n] = v[kv_bases[n] + c];
      }
      for (var r = 0u; r < 4u; r++) {
        let query = q[bases[r] + c];
        let upstream = d_o[bases[r] + c];
        for (var n = 0u; n < 4u; n++) {
          dots[r][n] = fma(query, key[n], dots[r][n]);
          pulls[r][n] = fma(upstream, value[n], pulls[r][n]);
        }
      }
    }
    var ds: mat4x4f;  // by key, then by pair
    for (var n = 0u; n < 4u; n++) {
      let dot = transpose(mat4x4f(dots[0][n], dots[1][n], dots[2][n], dots[3][n]));
      let pull = transpose(mat4x4f(pulls[0][n], pulls[1][n], pulls[2][n], pulls[3][n]));
      let rise = params.scale * ((dot[0] + dot[1]) + (dot[2] + dot[3])) - lse;
      let seen = (vec4u(j + n) >= begin) & (vec4u(j + n) < end);
      let pulled = ((pull[0] + pull[1]) + (pull[2] + pull[3])) - delta;
      ds[n] = select(vec4f(), params.scale * exp(min(rise, vec4f(1.0))) * pulled, seen);
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
