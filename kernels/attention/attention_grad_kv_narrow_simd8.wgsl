// attention_grad_kv_narrow_simd8: attention_grad_kv of heads up to 16 wide, for subgroups of 8 lanes. The same bits.
//   dv[j,g] = sum_i sum_h p[i,h] do[i,h],   dk[j,g] = sum_i sum_h ds[i,h] q[i,h]
//   p[i,h] = exp(scale q[i,h].k[j,g] - lse[i,h]),   ds[i,h] = scale p[i,h] (do[i,h].v[j,g] - delta[i,h]);   stats = (lse, delta)
//   h: the H/G query heads of key head g;   i and prefix as in attention_grad_kv.wgsl
// Shapes    as attention_grad_kv.wgsl: q, d_o f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; stats f32 [N,H,2];
//           out dk, dv f32 [N,G*D]; D = 4*VECTORS <= 16
// Dispatch  a workgroup is one subgroup and takes 16 rows of a key head: ceil(N/16)*G workgroups, folded to 2-D. Lane l of
//           the first quad holds columns l, l+4, ... of 8 rows, and the weights of two of them; the second quad of the others
// Numerics  f32, queries and then heads strictly in order
// Why       A lane of a CPU's subgroup loads one value at a time, which takes as long as 10 products, and an array indexed at
//           run time is as slow. So each value that is loaded meets 8 rows, and what is indexed is unrolled: quick to
//           compile while heads are narrow
// Twin      src/ops/attention/attention_f64.ts#attentionGradF64
enable subgroups;
override VECTORS: u32 = 4u;

struct Params { rows: u32, heads: u32, kv_heads: u32, scale: f32, vectors: u32, prefix: u32, after_prefix: u32 }
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> bounds: array<vec2i>;
@group(0) @binding(4) var<storage, read> stats: array<vec2f>;
@group(0) @binding(5) var<storage, read> d_o: array<f32>;
@group(0) @binding(6) var<storage, read_write> dk: array<f32>;
@group(0) @binding(7) var<storage, read_write> dv: array<f32>;
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

// Sums of eight values over the four lanes of a quad, column 0 + 1 and 2 + 3 first: a lane gets those of its two.
fn sum_over_quad(low: vec4f, high: vec4f, lane: u32) -> vec2f {
  let odd = (lane & 1u) != 0u;
  let upper = (lane & 2u) != 0u;
  let fours = select(low, high, odd) + subgroupShuffleXor(select(high, low, odd), 1u);
  return select(fours.xy, fours.zw, upper) + subgroupShuffleXor(select(fours.zw, fours.xy, upper), 2u);
}

// Values 0 to 3 and 4 to 7 of a quad, from the lanes that have two each.
fn low_of(x: vec2f) -> vec4f { return vec4f(quadBroadcast(x, 0u), quadBroadcast(x, 2u)); }
fn high_of(x: vec2f) -> vec4f { return vec4f(quadBroadcast(x, 1u), quadBroadcast(x, 3u)); }

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.x + group.y * groups.x;
  let kv_head = index % params.kv_heads;
  let sharing = params.heads / params.kv_heads;
  let first = index / params.kv_heads * 16u;
  if (first >= params.rows) { return; }
  let last = min(first + 16u, params.rows) - 1u;
  let width = VECTORS * 4u;
  let column = lane & 3u;
  // The rows whose weights a lane holds: those past the last repeat it.
  let rows = min(vec2u(first + (lane & 6u) + (lane & 1u) * 4u) + (lane & 4u) + vec2u(0u, 1u), vec2u(last));
  let begin = select(rows, vec2u(u32(bounds[rows.x].x), u32(bounds[rows.y].x)), vec2<bool>(params.prefix == 1u));
  let end = vec2u(u32(bounds[rows.x].y), u32(bounds[rows.y].y));
  let slots = rows * params.kv_heads + kv_head;
  let slots_low = vec4u(quadBroadcast(slots, 0u), quadBroadcast(slots, 2u));
  let slots_high = vec4u(quadBroadcast(slots, 1u), quadBroadcast(slots, 3u));

  var key: array<mat2x4f, 4>;
  var value: array<mat2x4f, 4>;
  var key_sum: array<mat2x4f, 4>;
  var value_sum: array<mat2x4f, 4>;
  // Two rounds: a count that the compiler does not know, which would unroll them and take seconds.
  for (var half = 0u; half <= params.vectors / VECTORS; half++) {
    let bases = select(slots_low, slots_high, half == 1u) * width + column;
    for (var u = 0u; u < VECTORS; u++) {
      let x = vec4f(k[bases.x + 4u * u], k[bases.y + 4u * u], k[bases.z + 4u * u], k[bases.w + 4u * u]);
      let y = vec4f(v[bases.x + 4u * u], v[bases.y + 4u * u], v[bases.z + 4u * u], v[bases.w + 4u * u]);
      key[u] = mat2x4f(select(key[u][0], x, half == 0u), select(key[u][1], x, half == 1u));
      value[u] = mat2x4f(select(value[u][0], y, half == 0u), select(value[u][1], y, half == 1u));
      if (params.prefix == 1u) {
        let dx = vec4f(dk[bases.x + 4u * u], dk[bases.y + 4u * u], dk[bases.z + 4u * u], dk[bases.w + 4u * u]);
        let dy = vec4f(dv[bases.x + 4u * u], dv[bases.y + 4u * u], dv[bases.z + 4u * u], dv[bases.w + 4u * u]);
        key_sum[u] = mat2x4f(select(key_sum[u][0], dx, half == 0u), select(key_sum[u][1], dx, half == 1u));
        value_sum[u] = mat2x4f(select(value_sum[u][0], dy, half == 0u), select(value_sum[u][1], dy, half == 1u));
      }
    }
  }
  let queries = all_queries(first, last);
  for (var i = queries.x; i < queries.y; i++) {
    for (var head = kv_head * sharing; head < (kv_head + 1u) * sharing; head++) {
      let stat = stats[i * params.heads + head];
      let base = (i * params.heads + head) * width + column;
      var query: array<f32, 4>;
      var upstream: array<f32, 4>;
      var dots = mat2x4f();
      var pulls = mat2x4f();
      for (var u = 0u; u < VECTORS; u++) {
        query[u] = q[base + 4u * u];
        upstream[u] = d_o[base + 4u * u];
        dots[0] = fma(vec4f(query[u]), key[u][0], dots[0]);
        dots[1] = fma(vec4f(query[u]), key[u][1], dots[1]);
        pulls[0] = fma(vec4f(upstream[u]), value[u][0], pulls[0]);
        pulls[1] = fma(vec4f(upstream[u]), value[u][1], pulls[1]);
      }
      let scores = params.scale * sum_over_quad(dots[0], dots[1], lane);
      let pull = sum_over_quad(pulls[0], pulls[1], lane);
      let seen = (vec2u(i) >= begin) & (vec2u(i) < end);
      let p = select(vec2f(), exp(min(scores - stat.x, vec2f(1.0))), seen);
      let ds = params.scale * p * (pull - stat.y);
      let p_low = low_of(p); let p_high = high_of(p);
      let ds_low = low_of(ds); let ds_high = high_of(ds);
      for (var u = 0u; u < VECTORS; u++) {
        value_sum[u][0] = fma(vec4f(upstream[u]), p_low, value_sum[u][0]);
        value_sum[u][1] = fma(vec4f(upstream[u]), p_high, value_sum[u][1]);
        key_sum[u][0] = fma(vec4f(query[u]), ds_low, key_sum[u][0]);
        key_sum[u][1] = fma(vec4f(query[u]), ds_high, key_sum[u][1]);
      }
    }
  }
  for (var half = 0u; half <= params.vectors / VECTORS; half++) {
    let bases = select(slots_low, slots_high, half == 1u) * width + column;
    for (var u = 0u; u < VECTORS; u++) {
      let dx = select(key_sum[u][0], key_sum[u][1], half == 1u);
      let dy = select(value_sum[u][0], value_sum[u][1], half == 1u);
      dk[bases.x + 4u * u] = dx.x;
      dk[bases.y + 4u * u] = dx.y;
      dk[bases.z + 4u * u] = dx.z;
      dk[bases.w + 4u * u] = dx.w;
      dv[bases.x + 4u * u] = dy.x;
      dv[bases.y + 4u * u] = dy.y;
      dv[bases.z + 4u * u] = dy.z;
      dv[bases.w + 4u * u] = dy.w;
    }
  }
}
