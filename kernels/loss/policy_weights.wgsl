// policy_weights: what the policy term of each token is multiplied by, held constant.
//   w[i]   = sampler weight (VESPO: phi[b]) * token mask * kept[b]
//   OFF_POLICY  kept[b] = 1 where A >= 0 or the completion's mean of sampler - logp is at most THRESHOLD, else 0
//   VESPO       phi[b]  = exp(lambda + k ln(r) - lambda r), k and lambda by the sign of A, 0 where that overflows
//               ln(r)   = sum of clamp(logp - old, -20, 20) + clamp(ln(sampler weight), ln(1e-8), 20), clamped likewise
// Shapes    logp, old, sampler, sampler_weights, token_mask f32 [M], completions end to end; offsets i32 [B+1]: tokens
//           of completion b are offsets[b] .. offsets[b+1]-1; advantages_weights f32 [2,B]; out weights f32 [M], 1 for
//           the spare tokens behind the last; sequence_weights f32 [B]: phi, or 1
// Dispatch  one workgroup per completion and one more, for the spare tokens: (B+1,1,1), folded to 2-D past 65535
// Numerics  f32; WG strided partial sums from the completion's first token, then a tree in fixed order
// Twin      src/rl/policy_weights.ts#policyWeightsF64     Gradient: none (weights are constants)
import package::lib::grid::{Fold, WG, group_number};
import package::lib::reduce::workgroup_sum;

@group(0) @binding(0) var<storage, read> offsets: array<i32>;
@group(0) @binding(1) var<storage, read> advantages_weights: array<f32>;
@if(VESPO || OFF_POLICY) @group(0) @binding(2) var<storage, read> logp: array<f32>;
@if(VESPO) @group(0) @binding(3) var<storage, read> old_logp: array<f32>;
@if(OFF_POLICY) @group(0) @binding(4) var<storage, read> sampler: array<f32>;
@if(SAMPLER_WEIGHTS) @group(0) @binding(5) var<storage, read> sampler_weights: array<f32>;
@if(TOKEN_MASK) @group(0) @binding(6) var<storage, read> token_mask: array<f32>;
@group(0) @binding(7) var<storage, read_write> weights: array<f32>;
@group(0) @binding(8) var<storage, read_write> sequence_weights: array<f32>;

struct Params {
  completions: u32,
  tokens: u32,
  threshold: f32,
  k_pos: f32,
  lambda_pos: f32,
  k_neg: f32,
  lambda_neg: f32,
}
@group(0) @binding(9) var<uniform> params: Params;

const MOST = 20.0;
const LOWEST = -18.420680743952367;  // ln(1e-8)
const LARGEST = 88.0;  // whose exp an f32 holds

// What a token adds to ln(r). A weight of 0 has no logarithm.
fn log_ratio(i: u32) -> f32 {
  @if(VESPO) {
    let own = clamp(logp[i] - old_logp[i], -MOST, MOST);
    @if(SAMPLER_WEIGHTS) {
      // A compiler's log(1) may be off by a rounding, and then a sampler that is the trainer would be corrected.
      let weight = sampler_weights[i];
      return own + select(clamp(log(max(weight, 1e-8)), LOWEST, MOST), 0.0, weight == 1.0);
    }
    @else return own;
  }
  @else return 0.0;
}

fn phi_of(log_sum: f32, advantage: f32) -> f32 {
  let k = select(params.k_neg, params.k_pos, advantage >= 0.0);
  let lambda = max(select(params.lambda_neg, params.lambda_pos, advantage >= 0.0), 1e-4);
  let bounded = clamp(log_sum, LOWEST, MOST);
  let log_phi = lambda + k * bounded - lambda * exp(bounded);
  return select(exp(min(log_phi, LARGEST)), 0.0, log_phi > LARGEST);
}

fn own_weight(i: u32, phi: f32) -> f32 {
  @if(VESPO) return phi;
  @else {
    @if(SAMPLER_WEIGHTS) return sampler_weights[i];
    @else return 1.0;
  }
}

fn mask_of(i: u32) -> f32 {
  @if(TOKEN_MASK) return token_mask[i];
  @else return 1.0;
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
  let advantage = advantages_weights[b];
  var phi = 1.0;
  @if(VESPO) {
    var log_sum = 0.0;
    for (var i = begin + lane; i < end; i += WG) { log_sum += log_ratio(i); }
    phi = phi_of(workgroup_sum(lane, log_sum), advantage);
    workgroupBarrier();
  }
  var kept = 1.0;
  @if(OFF_POLICY) {
    var drift = 0.0;
    for (var i = begin + lane; i < end; i += WG) { drift += sampler[i] - logp[i]; }
    let mean = workgroup_sum(lane, drift) / max(f32(end - begin), 1.0);
    kept = select(0.0, 1.0, advantage >= 0.0 || mean <= params.threshold);
  }
  for (var i = begin + lane; i < end; i += WG) { weights[i] = own_weight(i, phi) * mask_of(i) * kept; }
  if (lane == 0u) { sequence_weights[b] = phi; }
}
