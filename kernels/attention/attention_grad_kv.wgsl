// attention_grad_kv: gradient of attention with respect to the keys and values.
//   dv[j,g] = sum_i sum_h p[i,h] do[i,h],   dk[j,g] = sum_i sum_h ds[i,h] q[i,h]
//   p[i,h] = exp(scale q[i,h].k[j,g] - lse[i,h]),   ds[i,h] = scale p[i,h] (do[i,h].v[j,g] - delta[i,h]);   stats = (lse, delta)
//   h: the H/G query heads of key head g;   i = j .. bounds[j].y - 1
//   prefix: i = bounds[j].x .. bounds[j].y - 1, any rows of q; adds to what dk and dv hold
// Shapes    q, d_o f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; stats f32 [N,H,2]; out dk, dv f32 [N,G*D]; D = 4*vectors
// Dispatch  a lane takes 4 rows of a key head and visits 4 pairs (query, head) at a time; neighbour lanes take the key heads:
//           ceil(ceil(N/4)*G/WG) workgroups, folded to 2-D
// Numerics  f32, queries and then heads strictly in order
// Cost      no lane waits for another. A tile of 4 x 4 loads each value for 4 products; nothing is indexed at run time but
//           buffers (the sums lie in dk and dv), so that one pipeline serves every D
// Twin      src/ops/attention/attention_f64.ts#attentionGradF64
override WG: u32 = 32u;

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

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let flat = (group.x + group.y * groups.x) * WG + lane;
  let kv_head = flat % params.kv_heads;
  let sharing = params.heads / params.kv_heads;
  let first = flat / params.kv_heads * 4u;
  if (first >= params.rows) { return; }
  let last = min(first + 4u, params.rows) - 1u;
  let rows = min(vec4u(first) + vec4u(0u, 1u, 2u, 3u), vec4u(last));  // past the end: the last again
  let kv_bases = (rows * params.kv_heads + kv_head) * params.vectors;
  // Queries and their heads, counted together.
  let queries = all_queries(first, last);
  let pairs = queries * sharing;
  var begin = rows * sharing;
  var end: vec4u;
  for (var r = 0u; r < 4u; r++) {
    let own = vec2u(bounds[rows[r]]);
    if (params.prefix == 1u) { begin[r] = own.x * sharing; }
    end[r] = own.y * sharing;
    if (params.prefix == 0u) {
      for (var c = 0u; c < params.vectors; c++) {
        dk[kv_bases[r] + c] = vec4f();
        dv[kv_bases[r] + c] = vec4f();
      }
    }
  }
  for (var i = pairs.x; i < pairs.y; i += 4u) {
    let my_pairs = min(vec4u(i) + vec4u(0u, 1u, 2u, 3u), vec4u(pairs.y - 1u));
    let slots = my_pairs / sharing * params.heads + kv_head * sharing + my_pairs % sharing;
    let bases = slots * params.vectors;
    var dots = array<mat4x4f, 4>();  // by pair, then by row: four partial sums
    var pulls = array<mat4x4f, 4>();
    for (var c = 0u; c < params.vectors; c++) {
      var key: mat4x4f;
      var value: mat4x4f;
      for (var r = 0u; r < 4u; r++) {
        key[r] = k[kv_bases[r] + c];
        value[r] = v[kv_bases[r] + c];
      }
      for (var n = 0u; n < 4u; n++) {
        let query = q[bases[n] + c];
        let upstream = d_o[bases[n] + c];
        for (var r = 0u; r < 4u; r++) {
          dots[n][r] = fma(query, key[r], dots[n][r]);
          pulls[n][r] = fma(upstream, value[r], pulls[n][r]);
        }
      }
    }
    var p: mat4x4f;  // by pair, then by row
    var ds: mat4x4f;
    for (var n = 0u; n < 4u; n++) {
      let stat = stats[slots[n]];
      let dot = transpose(dots[n]);
      let pull = transpose(pulls[n]);
      let rise = params.scale * ((dot[0] + dot[1]) + (dot[2] + dot[3])) - stat.x;
      let seen = (vec4u(i + n) >= begin) & (vec4u(i + n) < end);
      p[n] = select(vec4f(), exp(min(rise, vec4f(1.0))), seen);
      ds[n] = params.scale * p[n] * (((pull[0] + pull[1]) + (pull[2] + pull[3])) - stat.y);
    }
    for (var c = 0u; c < params.vectors; c++) {
      var key_sum: mat4x4f;
      var value_sum: mat4x4f;
      for (var r = 0u; r < 4u; r++) {
        key_sum[r] = dk[kv_bases[r] + c];
        value_sum[r] = dv[kv_bases[r] + c];
      }
      for (var n = 0u; n < 4u; n++) {
        let query = q[bases[n] + c];
        let upstream = d_o[bases[n] + c];
        for (var r = 0u; r < 4u; r++) {
          value_sum[r] = fma(upstream, vec4f(p[n][r]), value_sum[r]);
          key_sum[r] = fma(query, vec4f(ds[n][r]), key_sum[r]);
        }
      }
      for (var r = 0u; r < 4u; r++) {
        dk[kv_bases[r] + c] = key_sum[r];
        dv[kv_bases[r] + c] = value_sum[r];
      }
    }
  }
}
