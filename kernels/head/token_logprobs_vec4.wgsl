// token_logprobs_vec4: as token_logprobs.wgsl, where rows begin on whole vec4s.
//   logprobs[r] = z[r,y] - logsum[r],   logsum[r] = log(sum_v exp(z[r,v])),   z = logits * scale
//   entropy[r]  = logsum[r] - sum_v z[r,v] exp(z[r,v] - logsum[r])
// Shapes    logits f32 [R,S], of which columns 0..V count, S a multiple of 4; tokens i32 [R], -1 = padding -> logprob and
//           entropy 0; out logprobs, entropy (nats), logsum f32 [R]
// Dispatch  one workgroup per row: (R,1,1), folded to 2-D past 65535
// Numerics  one pass, running max (arXiv:1805.02867), f32; WG strided partial sums of vec4s, then a tree in fixed order
// Twin      src/ops/head/token_logprobs.ts#tokenLogprobsF64     Gradient: token_logprobs_grad_vec4.wgsl
override WG: u32 = 256u;  // power of two

struct Params { rows: u32, columns: u32, stride: u32, scale: f32 }  // scale: 1 / temperature
@group(0) @binding(0) var<storage, read> logits: array<vec4f>;
@group(0) @binding(1) var<storage, read> tokens: array<i32>;
@group(0) @binding(2) var<storage, read_write> logprobs: array<f32>;
@group(0) @binding(3) var<storage, read_write> entropy: array<f32>;
@group(0) @binding(4) var<storage, read_write> logsum: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

const LOWEST = -3.0e38;
const FAR = -1.0e30;  // exp(FAR) = 0, and FAR * 0 = 0 where -inf * 0 would not be

// With top the largest z so far: sum of exp(z - top), and of (z - top) exp(z - top).
struct Partial { top: f32, sum: f32, weighted: f32 }
var<workgroup> partials: array<Partial, WG>;

fn raise(partial: Partial, top: f32) -> Partial {
  let gap = max(partial.top - top, FAR);
  let shrink = exp(gap);
  return Partial(top, partial.sum * shrink, shrink * fma(gap, partial.sum, partial.weighted));
}

fn merge(a: Partial, b: Partial) -> Partial {
  let top = max(a.top, b.top);
  let left = raise(a, top);
  let right = raise(b, top);
  return Partial(top, left.sum + right.sum, left.weighted + right.weighted);
}

fn largest(z: vec4f) -> f32 { return max(max(z.x, z.y), max(z.z, z.w)); }

// What one lane sees: every WG-th vec4, four at a time so that the sums are rescaled once in sixteen columns.
fn scan(base: u32, lane: u32) -> Partial {
  var top = LOWEST;
  var sum = vec4f(0.0);
  var weighted = vec4f(0.0);
  var v = lane;
  for (; 4u * (v + 3u * WG) + 3u < params.columns; v += 4u * WG) {
    let a = logits[base + v] * params.scale;
    let b = logits[base + v + WG] * params.scale;
    let c = logits[base + v + 2u * WG] * params.scale;
    let d = logits[base + v + 3u * WG] * params.scale;
    let high = largest(max(max(a, b), max(c, d)));
    if (high > top) {
      let gap = max(top - high, FAR);
      let shrink = exp(gap);
      weighted = shrink * fma(vec4f(gap), sum, weighted);
      sum *= shrink;
      top = high;
    }
    let gap_a = max(a - top, vec4f(FAR));
    let gap_b = max(b - top, vec4f(FAR));
    let gap_c = max(c - top, vec4f(FAR));
    let gap_d = max(d - top, vec4f(FAR));
    let weight_a = exp(gap_a);
    let weight_b = exp(gap_b);
    let weight_c = exp(gap_c);
    let weight_d = exp(gap_d);
    sum += (weight_a + weight_b) + (weight_c + weight_d);
    weighted = fma(gap_a, weight_a, fma(gap_b, weight_b, fma(gap_c, weight_c, fma(gap_d, weight_d, weighted))));
  }
  var seen = Partial(top, (sum.x + sum.y) + (sum.z + sum.w), (weighted.x + weighted.y) + (weighted.z + weighted.w));
  for (; 4u * v < params.columns; v += WG) {
    let counts = vec4u(4u * v) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.columns);
    let z = select(vec4f(LOWEST), logits[base + v] * params.scale, counts);
    let high = largest(z);
    if (high > seen.top) { seen = raise(seen, high); }
    let gap = max(z - seen.top, vec4f(FAR));
    let weight = exp(gap);
    seen.sum += (weight.x + weight.y) + (weight.z + weight.w);
    seen.weighted += dot(gap, weight);
  }
  return seen;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let base = row * (params.stride / 4u);
  partials[lane] = scan(base, lane);
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partials[lane] = merge(partials[lane], partials[lane + half]); }
    workgroupBarrier();
  }
  if (lane != 0u) { return; }
  let all = partials[0];
  let token = tokens[row];
  logsum[row] = all.top + log(all.sum);
  if (token < 0) {
    logprobs[row] = 0.0;
    entropy[row] = 0.0;
    return;
  }
  let chosen = logits[base + u32(token) / 4u][u32(token) % 4u];
  logprobs[row] = chosen * params.scale - all.top - log(all.sum);
  entropy[row] = log(all.sum) - all.weighted / all.sum;
}
