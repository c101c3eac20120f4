// grpo: what the loss and its gradient both read: the completions, which loss it is, its policy term and its KL term.
@group(0) @binding(0) var<storage, read> logp: array<f32>;
@group(0) @binding(1) var<storage, read> old_logp: array<f32>;
@group(0) @binding(2) var<storage, read> ref_logp: array<f32>;
@group(0) @binding(3) var<storage, read> offsets: array<i32>;
@group(0) @binding(4) var<storage, read> advantages_weights: array<f32>;
@if(TOKEN_WEIGHTS) @group(0) @binding(9) var<storage, read> token_weights: array<f32>;

struct Params {
  completions: u32,
  tokens: u32,
  beta: f32,
  low: f32,
  high: f32,
  delta: f32,
  gate_pos: f32,
  gate_neg: f32,
}
@group(0) @binding(8) var<uniform> params: Params;

override LEVEL: u32 = 0u;  // 0 a ratio per token, 1 one per completion
override TERM: u32 = 0u;  // the policy term: one of these
const CLIPPED = 0u;
const CISPO = 1u;
const SAPO = 2u;
const VESPO = 3u;
override RATIO_KL: u32 = 0u;  // 1: kl times the ratio, with its gradient

// SAPO's temperature of a token.
fn temperature_of(advantage: f32) -> f32 { return select(params.gate_neg, params.gate_pos, advantage > 0.0); }

// The policy term of a token's loss: src/rl/policy_terms.ts has it in f64, term by term.
fn policy_loss(ratio: f32, advantage: f32, logprob: f32) -> f32 {
  if (TERM == CISPO) { return -(min(ratio, params.high) * advantage * logprob); }
  if (TERM == SAPO) {
    let temperature = temperature_of(advantage);
    return -(4.0 / temperature) * advantage / (1.0 + exp(-temperature * (ratio - 1.0)));
  }
  if (TERM == VESPO) { return -(advantage * logprob); }
  return -min(min(ratio, params.delta) * advantage, clamp(ratio, params.low, params.high) * advantage);
}

// Its derivative with respect to logprob.
fn policy_gradient(ratio: f32, advantage: f32) -> f32 {
  if (TERM == CISPO) { return -min(ratio, params.high) * advantage; }
  if (TERM == SAPO) {
    let away = exp(-temperature_of(advantage) * (ratio - 1.0));
    let gate = 1.0 / (1.0 + away);
    return -4.0 * gate * (away * gate) * ratio * advantage;
  }
  if (TERM == VESPO) { return -advantage; }
  let passes = ratio <= params.delta && ratio * advantage <= clamp(ratio, params.low, params.high) * advantage;
  return select(0.0, -ratio * advantage, passes);
}

fn weight_of(token: u32) -> f32 {
  @if(TOKEN_WEIGHTS) return token_weights[token];
  @else return 1.0;
}

// A policy term or its gradient times a weight, of which 1 leaves it as it is, also where a compiler would join the
// product to the sum that comes next.
fn weighted(term: f32, weight: f32) -> f32 {
  @if(TOKEN_WEIGHTS) return select(term * weight, term, weight == 1.0);
  @else return term;
}

// The k3 estimate exp(d) - d - 1 of the KL divergence, by its series near 0, where that would cancel.
fn k3(d: f32) -> f32 {
  if (abs(d) < 0.1) { return d * d * (0.5 + d * (1.0 / 6.0 + d * (1.0 / 24.0 + d * (1.0 / 120.0 + d / 720.0)))); }
  return exp(d) - d - 1.0;
}

// Its derivative exp(d) - 1.
fn k3_slope(d: f32) -> f32 {
  if (abs(d) < 0.1) { return d * (1.0 + d * (0.5 + d * (1.0 / 6.0 + d * (1.0 / 24.0 + d / 120.0)))); }
  return exp(d) - 1.0;
}
