// attention_narrow_simd8: attention of heads up to 16 wide, for subgroups of 8 lanes. The same sums, the same bits.
//   o[i,h] = sum_j p[j] v[j,g] / sum_j p[j],   p[j] = exp(s[j] - m),   s[j] = scale q[i,h].k[j,g],   m = max_j s[j]
//   softmax[i,h] = (m, sum_j p[j]);   j, prefix and after_prefix as in attention.wgsl;   g = h / (H/G)
// Shapes    as attention.wgsl: q f32 [N,H*D]; k, v f32 [N,G*D]; bounds i32 [N,2]; out o f32 [N,H*D], softmax f32 [N,H,2];
//           D = 4*VECTORS <= 16
// Dispatch  a workgroup is one subgroup and takes 16 pairs (row, query head of a key head), counted row by row:
//           ceil(N*(H/G)/16)*G workgroups, folded to 2-D. Lane l of the first quad holds columns l, l+4, ... of 8 pairs, and
//           the softmaxes of two of them; the second quad of the other 8
// Numerics  f32, keys strictly in order with a running maximum; a key that a row must not see gets weight 0
// Why       A lane of a CPU's subgroup loads one value at a time, which takes as long as 10 products, and an array indexed at
//           run time is as slow. So each value that is loaded meets 8 pairs, and what is indexed is unrolled: quick to
//           compile while heads are narrow
// Twin      src/ops/attention/attention_f64.ts#attentionF64     Gradient: attention_grad_*.wgsl
enable subgroups;
override VECTORS: u32 = 4u;

struct Params { rows: u32, heads: u32, kv_heads: u32, scale: f32, vectors: u32, prefix: u32, after_prefix: u32 }
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> bounds: array<vec2i>;
@group(0) @binding(4) var<storage, read_write> o: array<f32>;
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
  if (first >= params.rows * sharing) { return; }
  let last = min(first + 16u, params.rows * sharing) - 1u;
  let width = VECTORS * 4u;
  let column = lane & 3u;
  // The two softmaxes of a lane: pairs past the last repeat it.
  let pairs = min(vec2u(first + (lane & 6u) + (lane & 1u) * 4u) + (lane & 4u) + vec2u(0u, 1u), vec2u(last));
  let rows = pairs / sharing;
  let begin = vec2u(u32(bounds[rows.x].x), u32(bounds[rows.y].x));
  let end = select(rows + 1u, vec2u(u32(bounds[rows.x].y), u32(bounds[rows.y].y)), vec2<bool>(params.prefix == 1u));
  let slots = rows * params.heads + kv_head * sharing + pairs % sharing;
  let slots_low = vec4u(quadBroadcast(slots, 0u), quadBroadcast(slots, 2u));
  let slots_high = vec4u(quadBroadcast(slots, 1u), quadBroadcast(slots, 3u));

  var most = vec2f(-3.0e38);
  var weights = vec2f();
  if (params.after_prefix == 1u) {
    most = vec2f(softmax[slots.x].x, softmax[slots.y].x);
    weights = vec2f(softmax[slots.x].y, softmax[slots.y].y);
  }
  var query: array<mat2x4f, 4>;
  var sum: array<mat2x4f, 4>;
  // Two rounds: a count that the compiler does not know, which would unroll them and take seconds.
  for (var half = 0u; half <= params.vectors / VECTORS; half++) {
    let bases = select(slots_low, slots_high, half == 1u) * width + column;
    for (var u = 0u; u < VECTORS; u++) {
      let x = vec4f(q[bases.x + 4u * u], q[bases.y + 4u * u], q[bases.z + 4u * u], q[bases.w + 4u * u]) * params.scale;
      query[u] = mat2x4f(select(query[u][0], x, half == 0u), select(query[u][1], x, half == 1u));
      if (params.after_prefix == 1u) {
        let y = vec4f(o[bases.x + 4u * u], o[bases.y + 4u * u], o[bases.z + 4u * u], o[bases.w + 4u * u]);
        sum[u] = mat2x4f(select(sum[u][0], y, half == 0u), select(sum[u][1], y, half == 1u));
      }
    }
  }
  let keys = all_keys(first / sharing, last / sharing);
  for (var j = keys.x; j < keys.y; j++) {
    let base = (j * params.kv_heads + kv_head) * width + column;
    var dots = mat2x4f();
    for (var u = 0u; u < VECTORS; u++) {
      let key = vec4f(k[base + 4u * u]);
      dots[0] = fma(query[u][0], key, dots[0]);
      dots[1] = fma(query[u][1], key, dots[1]);
    }
    let scores = sum_over_quad(dots[0], dots[1], lane);
    let seen = (vec2u(j) >= begin) & (vec2u(j) < end);
    let rise = scores - most;
    let shrunk = exp(-abs(rise));  // the one exponential: of the old maximum or of this key
    let rises = seen & (rise > vec2f());
    let keep = select(vec2f(1.0), shrunk, rises);
    let p = select(select(vec2f(), shrunk, seen), vec2f(1.0), rises);
    most = select(most, scores, rises);
    weights = fma(weights, keep, p);
    let keep_low = low_of(keep); let keep_high = high_of(keep);
    let p_low = low_of(p); let p_high = high_of(p);
    for (var u = 0u; u < VECTORS; u++) {
      let value = vec4f(v[base + 4u * u]);
      sum[u][0] = fma(value, p_low, sum[u][0] * keep_low);
      sum[u][1] = fma(value, p_high, sum[u][1] * keep_high);
    }
  }
  softmax[slots.x] = vec2f(most.x, weights.x);
  softmax[slots.y] = vec2f(most.y, weights.y);
  let divisors = select(weights, vec2f(1.0), vec2<bool>(params.prefix == 1u));
  let divisors_low = low_of(divisors); let divisors_high = high_of(divisors);
  for (var half = 0u; half <= params.vectors / VECTORS; half++) {
    let bases = select(slots_low, slots_high, half == 1u) * width + column;
    for (var u = 0u; u < VECTORS; u++) {
      let x = select(sum[u][0] / divisors_low, sum[u][1] / divisors_high, half == 1u);
      o[bases.x + 4u * u] = x.x;
      o[bases.y + 4u * u] = x.y;
      o[bases.z + 4u * u] = x.z;
      o[bases.w + 4u * u] = x.w;
    }
  }
}
