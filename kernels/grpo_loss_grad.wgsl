// grpo_loss_grad: gradient of grpo_loss's losses with respect to the log-probs.
//   dlogp[i] = dlosses[b] w[b] (-ratio A [unclipped branch taken] + beta (1 - exp(ref - logp)))
// Shapes    logp, old, ref f32 [M]; completion i32 [M]: whose token it is, -1 = nobody's -> 0;
//           advantages_weights f32 [2,B]; dlosses f32 [B]; out dlogp f32 [M]
// Dispatch  one lane per token: (ceil(M/WG),1,1), folded to 2-D past 65535
// Twin      src/rl/loss.ts#grpoTokenLoss
override WG: u32 = 256u;

struct Params { tokens: u32, completions: u32, beta: f32, low: f32, high: f32 }
@group(0) @binding(0) var<storage, read> logp: array<f32>;
@group(0) @binding(1) var<storage, read> old_logp: array<f32>;
@group(0) @binding(2) var<storage, read> ref_logp: array<f32>;
@group(0) @binding(3) var<storage, read> completion: array<i32>;
@group(0) @binding(4) var<storage, read> advantages_weights: array<f32>;  // [2,B]
@group(0) @binding(5) var<storage, read> dlosses: array<f32>;
@group(0) @binding(6) var<storage, read_write> dlogp: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

fn expm1_near(d: f32) -> f32 {
  if (abs(d) < 0.1) { return d * (1.0 + d * (0.5 + d * (1.0 / 6.0 + d * (1.0 / 24.0 + d / 120.0)))); }
  return exp(d) - 1.0;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * groups.x) * WG + lane;
  if (i >= params.tokens) { return; }
  if (completion[i] < 0) {
    dlogp[i] = 0.0;
    return;
  }
  let b = u32(completion[i]);
  let advantage = advantages_weights[b];
  let ratio = exp(logp[i] - old_logp[i]);
  var gradient = 0.0;
  if (ratio * advantage <= clamp(ratio, params.low, params.high) * advantage) { gradient = -ratio * advantage; }
  gradient -= params.beta * expm1_near(ref_logp[i] - logp[i]);
  dlogp[i] = dlosses[b] * advantages_weights[params.completions + b] * gradient;
}
