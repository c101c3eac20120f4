// sampler_weights: how far the sampler's log-probs lie from the trainer's, and the weights that correct for it.
//   d = trainer - sampler;  ratio = exp(d), for SEQUENCE exp(sum over the completion of d), 1 where that is 0
//   w = clamp(ratio, LOW, HIGH), for MASK the ratio itself, or 0 where it is beyond a bound
//   stats[b] = sum and largest of |d|, then sum, smallest and largest of w, over the completion's tokens
// Shapes    trainer, sampler f32 [M], completions end to end; offsets i32 [B+1]: tokens of completion b are
//           offsets[b] .. offsets[b+1]-1; out weights f32 [M], 1 for the spare tokens behind the last; stats f32 [B,5],
//           0 for a completion without tokens
// Dispatch  one workgroup per completion and one more, for the spare tokens: (B+1,1,1), folded to 2-D past 65535
// Numerics  f32; WG strided partial sums from the completion's first token, then a tree in fixed order
// Twin      src/rl/sampler_weights.ts#samplerWeightsF64
import package::lib::grid::{Fold, WG, group_number};
import package::lib::reduce::{workgroup_max, workgroup_sum, workgroup_sum4};

@group(0) @binding(0) var<storage, read> trainer: array<f32>;
@group(0) @binding(1) var<storage, read> sampler: array<f32>;
@group(0) @binding(2) var<storage, read> offsets: array<i32>;
@group(0) @binding(3) var<storage, read_write> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> stats: array<f32>;

struct Params { completions: u32, tokens: u32, low: f32, high: f32 }
@group(0) @binding(5) var<uniform> params: Params;

override SEQUENCE: u32 = 0u;  // 1: a completion has one ratio
override MASK: u32 = 0u;  // 1: a ratio beyond a bound becomes 0, not the bound

const LARGEST = 88.0;  // whose exp an f32 holds

// A compiler's exp(0) may be off by a rounding, and then a sampler that is the trainer would be corrected.
fn ratio_of(difference: f32) -> f32 {
  return select(exp(clamp(difference, -LARGEST, LARGEST)), 1.0, difference == 0.0);
}

fn weight_of(difference: f32) -> f32 {
  let ratio = ratio_of(difference);
  let bounded = clamp(ratio, params.low, params.high);
  if (MASK == 0u) { return bounded; }
  return select(0.0, ratio, bounded == ratio);
}

@compute @workgroup_size(WG)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let b = group_number(fold);
  if (b > params.completions) { return; }
  let begin = u32(offsets[b]);
  if (b == params.completions) {
    for (var i = begin + lane; i < params.tokens; i += WG) { weights[i] = 1.0; }
    return;
  }
  let end = u32(offsets[b + 1u]);
  var whole = 0.0;
  if (SEQUENCE == 1u) {
    for (var i = begin + lane; i < end; i += WG) { whole += trainer[i] - sampler[i]; }
    whole = workgroup_sum(lane, whole);
    workgroupBarrier();
  }
  var sums = vec4f(0.0);
  var largest = 0.0;
  var least = params.high;  // no weight is above it, but for a mask's 0
  var most = 0.0;
  for (var i = begin + lane; i < end; i += WG) {
    let difference = trainer[i] - sampler[i];
    let weight = weight_of(select(difference, whole, SEQUENCE == 1u));
    weights[i] = weight;
    sums += vec4f(abs(difference), weight, 0.0, 0.0);
    largest = max(largest, abs(difference));
    least = min(least, weight);
    most = max(most, weight);
  }
  let all = workgroup_sum4(lane, sums);
  let largest_of_all = workgroup_max(lane, largest);
  workgroupBarrier();
  let least_of_all = -workgroup_max(lane, -least);
  workgroupBarrier();
  let most_of_all = workgroup_max(lane, most);
  if (lane != 0u) { return; }
  stats[5u * b] = all.x;
  stats[5u * b + 1u] = largest_of_all;
  stats[5u * b + 2u] = all.y;
  stats[5u * b + 3u] = select(0.0, least_of_all, end > begin);
  stats[5u * b + 4u] = most_of_all;
}
