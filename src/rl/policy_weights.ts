/**
 * What the policy term of each token is multiplied by, held constant: the correction of the sampler, the mask of tokens
 * whose entropy is low, that of completions the policy has left behind, and the weight that `vespo` gives a completion.
 */
import { LOSS_TYPES, type LossType } from "./loss_types.ts";
import type { PolicyTerm } from "./policy_terms.ts";

/** The config keys that it depends on. */
export interface PolicyWeightsConfig {
  loss_type: LossType;
  /** Mean of sampler - logprob, nats, beyond which a completion of negative advantage is left out; null: none is. */
  off_policy_mask_threshold: number | null;
  vespo_k_pos: number;
  vespo_lambda_pos: number;
  vespo_k_neg: number;
  vespo_lambda_neg: number;
}

/** Of one completion of T tokens. */
export interface PolicyWeightsInputs {
  /** [T] log-probs of the policy that is trained, nats. */
  logprobs: ArrayLike<number>;
  /** [T] of the policy that sampled. */
  oldLogprobs: ArrayLike<number>;
  /** [T] of the same, as decoding computed them. */
  samplerLogprobs: ArrayLike<number>;
  /** [T] of sampler_weights.ts; null: 1. */
  samplerWeights: ArrayLike<number> | null;
  /** [T] 1 for tokens that count, else 0; null: all count. */
  tokenMask: ArrayLike<number> | null;
  advantage: number;
}

/** Bounds of a log ratio, of a token and of a completion: TRL's. */
const LOWEST_LOG_RATIO = Math.log(1e-8);
const MOST_LOG_RATIO = 20;
/** The least lambda of `vespo`: below, its weight would not fall for large ratios. */
const LEAST_VESPO_LAMBDA = 1e-4;

/** Whether a loss type takes the sampler's correction into the weight of a completion instead of multiplying by it. */
export const weighsCompletions = ({ loss_type }: Pick<PolicyWeightsConfig, "loss_type">): boolean => {
  const { policyTerm }: { policyTerm: PolicyTerm } = LOSS_TYPES[loss_type];
  return policyTerm.isWeighted === true;
};

/** Whether a configuration has any such weight beside the sampler's and the mask of tokens. */
export const hasPolicyWeights = (
  config: Pick<PolicyWeightsConfig, "loss_type" | "off_policy_mask_threshold">,
): boolean => weighsCompletions(config) || config.off_policy_mask_threshold !== null;

/**
 *   weight    = sampler weight (with `vespo`: phi) * token mask * kept
 *   kept      = 1 where A >= 0 or mean(sampler - logprob) <= off_policy_mask_threshold, else 0   (arXiv:2512.02556)
 *   phi(w)    = exp(lambda + k ln(w) - lambda w), k and lambda by the sign of A                  (arXiv:2602.10693)
 *   ln(w)     = sum over the completion of logprob - old + ln(sampler weight), bounded as TRL bounds it
 *
 * @returns weights [T], and phi, which is 1 for other loss types
 */
export function policyWeightsF64(
  inputs: PolicyWeightsInputs,
  config: PolicyWeightsConfig,
): { weights: number[]; sequenceWeight: number } {
  const { logprobs, samplerLogprobs, samplerWeights, tokenMask, advantage } = inputs;
  const isVespo = weighsCompletions(config);
  const sequenceWeight = isVespo ? gammaWeight(inputs, config) : 1;
  const drift = Array.from(logprobs, (logprob, t) => samplerLogprobs[t]! - logprob)
    .reduce((sum, difference) => sum + difference, 0) / Math.max(logprobs.length, 1);
  const isKept = config.off_policy_mask_threshold === null || advantage >= 0 ||
    drift <= config.off_policy_mask_threshold;
  const weights = Array.from(logprobs, (_, t) => {
    const own = isVespo ? sequenceWeight : samplerWeights?.[t] ?? 1;
    return isKept ? own * (tokenMask?.[t] ?? 1) : 0;
  });
  return { weights, sequenceWeight };
}

/** phi of a completion. */
function gammaWeight(
  { logprobs, oldLogprobs, samplerWeights, advantage }: PolicyWeightsInputs,
  config: PolicyWeightsConfig,
): number {
  const [k, given] = advantage >= 0
    ? [config.vespo_k_pos, config.vespo_lambda_pos]
    : [config.vespo_k_neg, config.vespo_lambda_neg];
  const lambda = Math.max(given, LEAST_VESPO_LAMBDA);
  const between = (value: number, low: number) => Math.min(Math.max(value, low), MOST_LOG_RATIO);
  let logRatio = 0;
  for (let t = 0; t < logprobs.length; t++) {
    logRatio += between(logprobs[t]! - oldLogprobs[t]!, -MOST_LOG_RATIO);
    if (samplerWeights) logRatio += between(Math.log(samplerWeights[t]!), LOWEST_LOG_RATIO);
  }
  const bounded = between(logRatio, LOWEST_LOG_RATIO);
  const phi = Math.exp(lambda + k * bounded - lambda * Math.exp(bounded));
  return Number.isFinite(phi) ? phi : 0;
}
