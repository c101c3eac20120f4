// token_logprobs: log-probability of the token that was chosen, and the entropy of the distribution it was drawn from.
//   logprobs[r] = z[r,y] - logsum[r],   logsum[r] = log(sum_v exp(z[r,v])),   z = logits * scale
//   SOFTCAP: z = softcap tanh(logits * factor / softcap) * scale
//   entropy[r]  = logsum[r] - sum_v z[r,v] exp(z[r,v] - logsum[r])
// Shapes    logits f32 [R,S], of which columns 0..V count, with VEC4 S a multiple of 4; tokens i32 [R], -1 = padding ->
//           logprob and entropy 0; out logprobs, entropy (nats), logsum f32 [R]
// Dispatch  one workgroup per row: (R,1,1), folded to 2-D past 65535
// Numerics  one pass, running max, f32; WG strided partial sums of four columns each, then a tree in fixed order: the
//           bits of a row depend neither on its stride nor on the rows beside it
// Twin      src/ops/head/token_logprobs.ts#tokenLogprobsF64     Gradient: token_logprobs_grad.wgsl
import package::lib::grid::{Fold, WG, group_number};
import package::lib::logsumexp::{FAR, LOWEST, Partial, largest, with_four, workgroup_merge};
import package::lib::softcap::{capped, capped_four};
import package::lib::values::{VALUE_SIZE, Value};

@group(0) @binding(0) var<storage, read> logits: array<Value>;
@group(0) @binding(1) var<storage, read> tokens: array<i32>;
@group(0) @binding(2) var<storage, read_write> logprobs: array<f32>;
@group(0) @binding(3) var<storage, read_write> entropy: array<f32>;
@group(0) @binding(4) var<storage, read_write> logsum: array<f32>;

struct Params {
  rows: u32,
  columns: u32,
  stride: u32,
  scale: f32,  // 1 / temperature, and without SOFTCAP 1 / divisor
  @if(SOFTCAP) factor: f32,  // 1 / divisor
  @if(SOFTCAP) softcap: f32,
}
@group(0) @binding(5) var<uniform> params: Params;

fn z_of(x: f32) -> f32 {
  @if(SOFTCAP) return capped(x * params.factor, params.softcap) * params.scale;
  @else return x * params.scale;
}

fn z_of_four(x: vec4f) -> vec4f {
  @if(SOFTCAP) return capped_four(x * params.factor, params.softcap) * params.scale;
  @else return x * params.scale;
}

// Columns 4 v to 4 v + 3 of a row; what of them lies beyond it does not count.
fn four_at(base: u32, v: u32) -> vec4f {
  @if(VEC4) return logits[base + v];
  @else {
    let last = params.columns - 1u;
    let first = 4u * v;
    return vec4f(
      logits[base + min(first, last)],
      logits[base + min(first + 1u, last)],
      logits[base + min(first + 2u, last)],
      logits[base + min(first + 3u, last)],
    );
  }
}

// What one lane sees: every WG-th four columns, four such at a time so that the sums are rescaled once in sixteen.
fn scan(base: u32, lane: u32) -> Partial {
  var top = LOWEST;
  var sum = vec4f(0.0);
  var weighted = vec4f(0.0);
  var v = lane;
  for (; 4u * (v + 3u * WG) + 3u < params.columns; v += 4u * WG) {
    let a = z_of_four(four_at(base, v));
    let b = z_of_four(four_at(base, v + WG));
    let c = z_of_four(four_at(base, v + 2u * WG));
    let d = z_of_four(four_at(base, v + 3u * WG));
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
    seen = with_four(seen, select(vec4f(LOWEST), z_of_four(four_at(base, v)), counts));
  }
  return seen;
}

fn logit_of(base: u32, token: u32) -> f32 {
  @if(VEC4) return logits[base + token / 4u][token % 4u];
  @else return logits[base + token];
}

@compute @workgroup_size(WG)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let row = group_number(fold);
  if (row >= params.rows) { return; }
  let base = row * (params.stride / VALUE_SIZE);
  let all = workgroup_merge(lane, scan(base, lane));
  if (lane != 0u) { return; }
  let token = tokens[row];
  logsum[row] = all.top + log(all.sum);
  if (token < 0) {
    logprobs[row] = 0.0;
    entropy[row] = 0.0;
    return;
  }
  logprobs[row] = z_of(logit_of(base, u32(token))) - all.top - log(all.sum);
  entropy[row] = log(all.sum) - all.weighted / all.sum;
}
