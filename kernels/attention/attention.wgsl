// attention: causal softmax attention of packed sequences, without an [N,N] matrix.
//   o[i,h] = sum_j p[j] v[j,g] / sum_j p[j],   p[j] = exp(s[j] - m),   s[j] = scale q[i,h].k[j,g],   m = max_j s[j]
//   softmax[i,h] = (m, sum_j p[j]);   j = bounds[i].x .. i;   g = h / (H/G), the key head of query head h
//   Shared keys before a sequence's own take two runs, which add as one would. prefix: j = bounds[i].x .. bounds[i].y - 1,
//   any rows of k and v; o is left undivided. after_prefix: continues from what that run left in o and softmax
// Shapes    q f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; out o f32 [N,H*D], softmax f32 [N,H,2]; D = 4*vectors
// Dispatch  a lane takes 4 pairs (row, query head of a key head), counted row by row, and visits 4 keys at a time; neighbour
//           lanes take the key heads: ceil(ceil(N*(H/G)/4)*G/WG) workgroups, folded to 2-D
// Numerics  f32, keys strictly in order with a running maximum: a row's bits depend on its own sequence only. A key that
//           a row of the tile must not see gets weight 0 and no say in the maximum. All inputs must be finite
// Cost      no lane waits for another. A tile of 4 x 4 loads each value for 4 products; nothing is indexed at run time but
//           buffers (the sums lie in o), so that one pipeline serves every D
// Twin      src/ops/attention/attention_f64.ts#attentionF64     Gradient: attention_grad_*.wgsl
override WG: u32 = 32u;

struct Params { rows: u32, heads: u32, kv_heads: u32, scale: f32, vectors: u32, prefix: u32, after_prefix: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> bounds: array<vec2i>;
@group(0) @binding(4) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> softmax: array<vec2f>;
@group(0) @binding(6) var<uniform> params: Params;

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

  var most = vec4f(-3.0e38);
  var weights = vec4f();
  for (var r = 0u; r < 4u; r++) {
    if (params.after_prefix == 1u) {
      most[r] = softmax[slots[r]].x;
      weights[r] = softmax[slots[r]].y;
    } else {
      for (var c = 0u; c < params.vectors; c++) { o[bases[r] + c] = vec4f(); }
    }
  }
  let keys = all_keys(rows.x, rows.w);
  for (var j = keys.x; j < keys.y; j += 4u) {
    let kv_bases = (min(vec4u(j) + vec4u(0u, 1u, 2u, 3u), vec4u(keys.y - 1u)) * params.kv_heads + kv_head) * params.vectors;
    var dots = array<mat4x4f, 4>();  // by pair, then by key: four partial sums
    for (var c = 0u; c < params.vectors; c++) {
      var key: mat4x4f;
      for (var n = 0u; n < 4u; n++) { key[n] = k[kv_bases[n] + c]; }
      for (var r = 0u; r < 4u; r++) {
        let query = q[bases[r] + c] * params.scale;
        for (var n = 0u; n < 4u; n++) { dots[r][n] = fma(query, key[n], dots[r][n]); }
      }
    }
    var keep: mat4x4f;  // by key, then by pair: what the sums so far keep
    var p: mat4x4f;     // the key's weight
    for (var n = 0u; n < 4u; n++) {
      let sums = transpose(mat4x4f(dots[0][n], dots[1][n], dots[2][n], dots[3][n]));
      let score = (sums[0] + sums[1]) + (sums[2] + sums[3]);
      let seen = (vec4u(j + n) >= begin) & (vec4u(j + n) < end);
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
  for (var r = 0u; r < 4u && first + r <= last; r++) {
    softmax[slots[r]] = vec2f(most[r], weights[r]);
    if (params.prefix == 0u) {
      for (var c = 0u; c < params.vectors; c++) { o[bases[r] + c] = o[bases[r] + c] / weights[r]; }
    }
  }
}
