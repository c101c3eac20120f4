// grpo_loss_grad: gradient of grpo_loss's losses with respect to the log-probs.
//   dlogp[i] = dlosses[b] w[b] (-ratio A [unclipped branch taken] + beta (1 - exp(ref - logp)))
//   for CISPO     -min(ratio, HIGH) A in the first place
//   for RATIO_KL  beta ratio (kl + 1 - exp(ref - logp)) in the second; for LEVEL 1 kl is its mean over the completion
// Shapes    logp, old, ref f32 [M]; offsets i32 [B+1]; advantages_weights f32 [2,B]; dlosses f32 [B]; out dlogp f32 [M]
// Dispatch  one workgroup per completion and one more, for the spare tokens behind the last: (B+1,1,1), folded
// Twin      src/rl/loss.ts#completionLosses
override WG: u32 = 32u;  // power of two
override LEVEL: u32 = 0u;  // 0 a ratio per token, 1 one per completion
override CISPO: u32 = 0u;
override RATIO_KL: u32 = 0u;  // 1: kl times the ratio, with its gradient

struct Params { completions: u32, tokens: u32, beta: f32, low: f32, high: f32, delta: f32 }
@group(0) @binding(0) var<storage, read> logp: array<f32>;
@group(0) @binding(1) var<storage, read> old_logp: array<f32>;
@group(0) @binding(2) var<storage, read> ref_logp: array<f32>;
@group(0) @binding(3) var<storage, read> offsets: array<i32>;
@group(0) @binding(4) var<storage, read> advantages_weights: array<f32>;
@group(0) @binding(5) var<storage, read> dlosses: array<f32>;
@group(0) @binding(6) var<storage, read_write> dlogp: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

var<workgroup> partial: array<f32, WG>;

fn expm1_near(d: f32) -> f32 {
  if (abs(d) < 0.1) { return d * (1.0 + d * (0.5 + d * (1.0 / 6.0 + d * (1.0 / 24.0 + d / 120.0)))); }
  return exp(d) - 1.0;
}

fn k3(d: f32) -> f32 {
  if (abs(d) < 0.1) { return d * d * (0.5 + d * (1.0 / 6.0 + d * (1.0 / 24.0 + d * (1.0 / 120.0 + d / 720.0)))); }
  return exp(d) - d - 1.0;
}

/** Mean over the completion of what each lane put into `partial`, in every lane; in the order of grpo_loss. */
fn mean(count: u32, lane: u32) -> f32 {
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  let sum = partial[0];
  workgroupBarrier();
  return sum / max(f32(count), 1.0);
}

/** d (policy term of the loss) / d logp. */
fn policy_gradient(ratio: f32, advantage: f32) -> f32 {
  if (CISPO == 1u) { return -min(ratio, params.high) * advantage; }
  let passes = ratio <= params.delta && ratio * advantage <= clamp(ratio, params.low, params.high) * advantage;
  return select(0.0, -ratio * advantage, passes);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let b = group.x + group.y * groups.x;
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
  if (LEVEL == 1u) {
    partial[lane] = 0.0;
    for (var i = begin + lane; i < end; i += WG) { partial[lane] += logp[i] - old_logp[i]; }
    ratio = exp(mean(end - begin, lane));
    partial[lane] = 0.0;
    for (var i = begin + lane; i < end; i += WG) { partial[lane] += k3(ref_logp[i] - logp[i]); }
    kl = mean(end - begin, lane);
  }
  for (var i = begin + lane; i < end; i += WG) {
    let difference = ref_logp[i] - logp[i];
    if (LEVEL == 0u) {
      ratio = exp(logp[i] - old_logp[i]);
      kl = k3(difference);
    }
    var kl_gradient = -expm1_near(difference);
    if (RATIO_KL == 1u) { kl_gradient = ratio * (kl_gradient + kl); }
    dlogp[i] = scale * (policy_gradient(ratio, advantage) + params.beta * kl_gradient);
  }
}
