// grpo_loss_grad: gradient of grpo_loss's losses with respect to the log-probs.
//   dlogp[i] = dlosses[b] w[b] (-ratio A [unclipped branch taken] + beta (1 - exp(ref - logp)))
//   in the first place for CISPO -min(ratio, HIGH) A, for SAPO -4 g (1 - g) ratio A, for VESPO -A
//   TOKEN_WEIGHTS  that times the token's weight, or the mean of the weights where all tokens pull at one ratio
//   for RATIO_KL  beta ratio (kl + 1 - exp(ref - logp)) in the second; for LEVEL 1 kl is its mean over the completion
// Shapes    logp, old, ref, token_weights f32 [M]; offsets i32 [B+1]; advantages_weights f32 [2,B]; dlosses f32 [B];
//           out dlogp f32 [M]
// Dispatch  one workgroup per completion and one more, for the spare tokens behind the last: (B+1,1,1), folded
// Numerics  f32; the means of LEVEL 1 in the order of grpo_loss
// Twin      src/rl/loss.ts#completionLosses
import package::lib::grid::{Fold, WG, group_number};
import package::lib::grpo::{
  CISPO, LEVEL, RATIO_KL, TERM, VESPO, advantages_weights, k3, k3_slope, logp, offsets, old_logp, params,
  policy_gradient, ref_logp, weight_of, weighted,
};
import package::lib::reduce::workgroup_sum;

@group(0) @binding(5) var<storage, read> dlosses: array<f32>;
@group(0) @binding(6) var<storage, read_write> dlogp: array<f32>;

@compute @workgroup_size(WG)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let b = group_number(fold);
  if (b > params.completions) { return; }
  let begin = u32(offsets[b]);
  if (b == params.completions) {
    for (var i = begin + lane; i < params.tokens; i += WG) { dlogp[i] = 0.0; }
    return;
  }
  let end = u32(offsets[b + 1u]);
  let advantage = advantages_weights[b];
  let scale = dlosses[b] * advantages_weights[params.completions + b];
  var ratio = 1.0;
  var kl = 0.0;
  var mean_weight = 1.0;
  if (LEVEL == 1u) {
    let count = max(f32(end - begin), 1.0);
    var log_ratio = 0.0;
    for (var i = begin + lane; i < end; i += WG) { log_ratio += logp[i] - old_logp[i]; }
    ratio = exp(workgroup_sum(lane, log_ratio) / count);
    workgroupBarrier();
    var kl_sum = 0.0;
    for (var i = begin + lane; i < end; i += WG) { kl_sum += k3(ref_logp[i] - logp[i]); }
    kl = workgroup_sum(lane, kl_sum) / count;
    @if(TOKEN_WEIGHTS) {
      workgroupBarrier();
      var weights = 0.0;
      for (var i = begin + lane; i < end; i += WG) { weights += weight_of(i); }
      mean_weight = workgroup_sum(lane, weights) / count;
    }
  }
  for (var i = begin + lane; i < end; i += WG) {
    let difference = ref_logp[i] - logp[i];
    if (LEVEL == 0u) {
      ratio = exp(logp[i] - old_logp[i]);
      kl = k3(difference);
    }
    var kl_gradient = -k3_slope(difference);
    if (RATIO_KL == 1u) { kl_gradient = ratio * (kl_gradient + kl); }
    let weight = select(weight_of(i), mean_weight, LEVEL == 1u && TERM != CISPO && TERM != VESPO);
    dlogp[i] = scale * (weighted(policy_gradient(ratio, advantage), weight) + params.beta * kl_gradient);
  }
}
