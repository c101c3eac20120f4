// grpo_loss: the policy loss with k3 KL penalty, one sum per completion.
//   ratio = exp(logp - old), or for LEVEL 1 exp(mean over the completion of logp - old)
//   l     = -min(min(ratio, DELTA) A, clip(ratio, LOW, HIGH) A)      or for CISPO   -min(ratio, HIGH) A logp
//           for SAPO -4 / tau g A, g = sigmoid(tau (ratio - 1))       or for VESPO   -A logp
//           TOKEN_WEIGHTS: that times the token's weight
//   kl    = exp(ref - logp) - (ref - logp) - 1, for RATIO_KL times the ratio
//   losses[b] = w[b] * sum_t (l + beta kl)
//   stats[b]  = sums over the completion's tokens of kl, clipped low, clipped high, entropy
// Shapes    logp, old, ref, entropy, token_weights f32 [M], completions end to end; offsets i32 [B+1]: tokens of
//           completion b are offsets[b] .. offsets[b+1]-1; advantages_weights f32 [2,B]; out losses f32 [B], stats
//           f32 [B,4]
// Dispatch  one workgroup per completion: (B,1,1), folded to 2-D past 65535
// Numerics  f32; WG strided partial sums from the completion's first token, then a tree in fixed order
// Twin      src/rl/loss.ts#completionLosses     Gradient: grpo_loss_grad.wgsl
import package::lib::grid::{Fold, WG, group_number};
import package::lib::grpo::{
  LEVEL, RATIO_KL, advantages_weights, k3, logp, offsets, old_logp, params, policy_loss, ref_logp, weight_of,
  weighted,
};
import package::lib::reduce::{workgroup_sum, workgroup_sum4};

@group(0) @binding(5) var<storage, read> entropy: array<f32>;
@group(0) @binding(6) var<storage, read_write> losses: array<f32>;
@group(0) @binding(7) var<storage, read_write> stats: array<vec4f>;

@compute @workgroup_size(WG)
fn main(fold: Fold, @builtin(local_invocation_index) lane: u32) {
  let b = group_number(fold);
  if (b >= params.completions) { return; }
  let advantage = advantages_weights[b];
  let begin = u32(offsets[b]);
  let end = u32(offsets[b + 1u]);
  var sequence_ratio = 1.0;
  if (LEVEL == 1u) {
    var log_ratio = 0.0;
    for (var i = begin + lane; i < end; i += WG) { log_ratio += logp[i] - old_logp[i]; }
    sequence_ratio = exp(workgroup_sum(lane, log_ratio) / max(f32(end - begin), 1.0));
    workgroupBarrier();
  }
  var loss = 0.0;
  var sums = vec4f(0.0);
  for (var i = begin + lane; i < end; i += WG) {
    var ratio = sequence_ratio;
    if (LEVEL == 0u) { ratio = exp(logp[i] - old_logp[i]); }
    let bounded = min(ratio, params.delta);
    loss += weighted(policy_loss(ratio, advantage, logp[i]), weight_of(i));
    let kl = k3(ref_logp[i] - logp[i]) * select(1.0, ratio, RATIO_KL == 1u);
    loss += params.beta * kl;
    sums += vec4f(
      kl,
      select(0.0, 1.0, bounded < params.low && advantage < 0.0),
      select(0.0, 1.0, bounded > params.high && advantage > 0.0),
      entropy[i],
    );
  }
  let loss_sum = workgroup_sum(lane, loss);
  let stats_sums = workgroup_sum4(lane, sums);
  if (lane == 0u) {
    losses[b] = loss_sum * advantages_weights[params.completions + b];
    stats[b] = stats_sums;
  }
}
