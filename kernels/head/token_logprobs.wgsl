// token_logprobs: log-probability of the token that was chosen, and the entropy of the distribution it was drawn from.
//   logprobs[r] = z[r,y] - logsum[r],   logsum[r] = log(sum_v exp(z[r,v])),   z = logits * scale
//   entropy[r]  = logsum[r] - sum_v z[r,v] exp(z[r,v] - logsum[r])
// Shapes    logits f32 [R,S], of which columns 0..V count; tokens i32 [R], -1 = padding -> logprob and entropy 0;
//           out logprobs, entropy (nats), logsum f32 [R]
// Dispatch  one workgroup per row: (R,1,1), folded to 2-D past 65535
// Numerics  one pass, running max (arXiv:1805.02867), f32; WG strided partial sums, then a tree in fixed order
// Twin      src/ops/head/token_logprobs.ts#tokenLogprobsF64     Gradient: token_logprobs_grad.wgsl
override WG: u32 = 32u;  // power of two

struct Params { rows: u32, columns: u32, stride: u32, scale: f32 }  // scale: 1 / temperature
@group(0) @binding(0) var<storage, read> logits: array<f32>;
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

fn logitAt(base: u32, v: u32) -> f32 {
  if (v >= params.columns) { return LOWEST; }
  return logits[base + v] * params.scale;
}

// What one lane sees: every WG-th column, four at a time so that the sums are rescaled once in four.
fn scan(base: u32, lane: u32) -> Partial {
  var seen = Partial(LOWEST, 0.0, 0.0);
  for (var v = lane; v < params.columns; v += 4u * WG) {
    let z = vec4f(logitAt(base, v), logitAt(base, v + WG), logitAt(base, v + 2u * WG), logitAt(base, v + 3u * WG));
    let top = max(seen.top, max(max(z.x, z.y), max(z.z, z.w)));
    if (top > seen.top) { seen = raise(seen, top); }
    let gap = max(z - top, vec4f(FAR));
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
  let base = row * params.stride;
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
  logprobs[row] = logits[base + u32(token)] * params.scale - all.top - log(all.sum);
  entropy[row] = log(all.sum) - all.weighted / all.sum;
}
