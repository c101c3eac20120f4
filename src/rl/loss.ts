/**
 * The GRPO loss and its gradient in f64: the twin that the GPU kernel is held against. What differs between loss types
 * is in loss_types.ts, how tokens are averaged in loss_weights.ts.
 * Shape letters: N = completions of the optimizer step, T = padded length.
 */

import type { CompletionStats, ImportanceSamplingLevel } from "./loss_means.ts";
import { LOSS_TYPES, type LossType } from "./loss_types.ts";
import type { ClipBounds, ClipConfig, PolicyTerm } from "./policy_terms.ts";

/** The config keys the loss of a token reads. */
export interface TokenLossConfig extends ClipConfig {
  loss_type: LossType;
  importance_sampling_level: ImportanceSamplingLevel;
  /** KL coefficient; 0 needs no reference log-probabilities. */
  beta: number;
  /** Multiply the KL term by the ratio: the gradient of reverse KL without bias (arXiv:2512.02556). */
  use_bias_correction_kl: boolean;
}

/** Clip bounds of a configuration; what is not bounded is infinite. */
export function clipBounds(config: TokenLossConfig): ClipBounds {
  return LOSS_TYPES[config.loss_type].policyTerm.bounds(config);
}

/** What the losses of one completion of T tokens are made of. */
interface CompletionInputs {
  /** [T] log-probs of the policy that is trained, nats. */
  logprobs: ArrayLike<number>;
  /** [T] of the policy that sampled. */
  oldLogprobs: ArrayLike<number>;
  /** [T] of the reference; null when beta is 0. */
  refLogprobs: ArrayLike<number> | null;
  /** Of the completion: all of its tokens have the same. */
  advantage: number;
  /** [T] of policy_weights.ts: what each policy term is multiplied by; left out: nothing. */
  tokenWeights?: ArrayLike<number>;
  /** [T] values of `logprobs` where the formula holds them constant; only given to difference numerically. */
  heldLogprobs?: ArrayLike<number>;
}

export interface TokenLoss {
  loss: number;
  /** d (sum of the completion's token losses) / d logprob of this token. */
  gradient: number;
  /** k3 estimate of KL(policy || reference), nats, times the ratio with use_bias_correction_kl; 0 when beta is 0. */
  kl: number;
  clippedLow: boolean;
  clippedHigh: boolean;
}

/**
 * Losses of the tokens of one completion:
 *
 *   ratio = exp(logprob - oldLogprob), for level "sequence" exp(mean of the differences)
 *   loss  = token weight * policy term (policy_terms.ts has them) + beta * kl
 *   kl    = exp(ref - logprob) - (ref - logprob) - 1        (k3, http://joschu.net/blog/kl-approx.html)
 *           * ratio with use_bias_correction_kl
 *
 * A sequence's ratio depends on every token with weight 1 / length, and every token's loss on it; so the gradient of
 * the policy term has the form that it has for level "token", with the mean of the weights, and that of the KL term its
 * mean in the token's place.
 *
 * @returns [T]
 * @throws TypeError when beta is not 0 and there are no reference log-probabilities, or when a loss type whose policy
 *   terms are nothing without their weights is given none
 */
export function completionLosses(inputs: CompletionInputs, config: TokenLossConfig): TokenLoss[] {
  const { logprobs, oldLogprobs, refLogprobs, advantage, tokenWeights, heldLogprobs = logprobs } = inputs;
  const { policyTerm } = LOSS_TYPES[config.loss_type];
  assertWeighted(config, tokenWeights);
  const bounds = clipBounds(config);
  const ratios = importanceRatios(logprobs, oldLogprobs, config.importance_sampling_level);
  const heldRatios = importanceRatios(heldLogprobs, oldLogprobs, config.importance_sampling_level);
  const terms = Array.from(logprobs, (logprob, t) => k3(logprob, refLogprobs?.[t] ?? null, config.beta));
  const meanKl = sum(terms.map(({ kl }) => kl)) / Math.max(terms.length, 1);
  const sharesRatio = config.importance_sampling_level === "sequence" && policyTerm.pullsAt === "ratio";
  const meanWeight = tokenWeights ? sum(Array.from(tokenWeights)) / Math.max(terms.length, 1) : 1;
  return terms.map(({ kl, klGradient }, t) => {
    const [logprob, ratio, heldRatio] = [logprobs[t]!, ratios[t]!, heldRatios[t]!];
    const policy = policyTerm.twin({ logprob, ratio, heldRatio, advantage }, bounds);
    const weight = tokenWeights?.[t] ?? 1;
    const gradientWeight = sharesRatio ? meanWeight : weight;
    const ratioKl = config.importance_sampling_level === "token" ? kl : meanKl;
    const corrected = config.use_bias_correction_kl;
    const klTerm = corrected ? ratio * kl : kl;
    const bounded = Math.min(ratio, bounds.delta);
    return {
      loss: weight * policy.loss + config.beta * klTerm,
      gradient: gradientWeight * policy.gradient +
        config.beta * (corrected ? ratio * (klGradient + ratioKl) : klGradient),
      kl: klTerm,
      clippedLow: bounded < bounds.low && advantage < 0,
      clippedHigh: bounded > bounds.high && advantage > 0,
    };
  });
}

/** @throws TypeError when the loss type needs weights of its policy terms and has none */
export function assertWeighted({ loss_type }: Pick<TokenLossConfig, "loss_type">, weights: unknown): void {
  const { policyTerm }: { policyTerm: PolicyTerm } = LOSS_TYPES[loss_type];
  if (policyTerm.isWeighted && !weights) {
    throw new TypeError(
      `Cannot compute the loss: loss_type "${loss_type}" needs tokenWeights, got none; take those of policyWeights`,
    );
  }
}

/** Probability ratio of each token of one completion. */
function importanceRatios(
  logprobs: ArrayLike<number>,
  oldLogprobs: ArrayLike<number>,
  level: ImportanceSamplingLevel,
): Float64Array {
  const differences = Float64Array.from(logprobs, (logprob, t) => logprob - oldLogprobs[t]!);
  if (level === "token") return differences.map(Math.exp);
  const mean = sum(differences) / Math.max(differences.length, 1);
  return differences.fill(Math.exp(mean));
}

function k3(logprob: number, refLogprob: number | null, beta: number): { kl: number; klGradient: number } {
  if (beta === 0) return { kl: 0, klGradient: 0 };
  if (refLogprob === null) {
    throw new TypeError(`Cannot compute the KL term: beta = ${beta} needs refLogprobs, got none`);
  }
  const difference = refLogprob - logprob;
  // expm1 keeps the digits that exp(x) - 1 loses near 0, where training starts.
  return { kl: Math.expm1(difference) - difference, klGradient: -Math.expm1(difference) };
}

/** One optimizer step's completions. Matrices are row-major [N, T]. */
export interface LossInputs {
  logprobs: ArrayLike<number>;
  oldLogprobs: ArrayLike<number>;
  /** null when beta is 0. */
  refLogprobs: ArrayLike<number> | null;
  /** null: every policy term counts as it is. */
  tokenWeights?: ArrayLike<number> | null;
  /** [N]: what `tokenWeights` hold of each completion as a whole, for the log; null: 1. */
  sequenceWeights?: ArrayLike<number> | null;
  /** [N] */
  advantages: ArrayLike<number>;
  /** 1 up to and including the first EOS, then 0. What lies under a 0 is never read. */
  completionMask: ArrayLike<number>;
  /** w_b of `sequenceWeights`, [N] */
  weights: ArrayLike<number>;
}

export interface LossOutputs {
  loss: number;
  /** d loss / d logprobs, [N, T]; 0 under the mask. */
  gradient: Float64Array;
  completions: CompletionStats[];
}

/** loss = sum_b w_b * sum_t mask[b,t] * l[b,t], its gradient, and what is logged of each completion. */
export function grpoLossF64(batch: LossInputs, config: TokenLossConfig): LossOutputs {
  const rows = batch.advantages.length;
  const columns = rows === 0 ? 0 : batch.logprobs.length / rows;
  const gradient = new Float64Array(batch.logprobs.length);
  const completions: CompletionStats[] = [];
  let loss = 0;
  for (let b = 0; b < rows; b++) {
    const places = Array.from({ length: columns }, (_, t) => b * columns + t)
      .filter((i) => batch.completionMask[i] !== 0);
    const pick = (values: ArrayLike<number>) => places.map((i) => values[i]!);
    const tokens = completionLosses({
      logprobs: pick(batch.logprobs),
      oldLogprobs: pick(batch.oldLogprobs),
      refLogprobs: batch.refLogprobs && pick(batch.refLogprobs),
      advantage: batch.advantages[b]!,
      tokenWeights: batch.tokenWeights ? pick(batch.tokenWeights) : undefined,
    }, config);
    const stats: CompletionStats = {
      tokens: places.length,
      kl: 0,
      clippedLow: 0,
      clippedHigh: 0,
      sequenceWeight: batch.sequenceWeights?.[b] ?? 1,
    };
    tokens.forEach((token, t) => {
      const i = places[t]!;
      loss += batch.weights[b]! * token.loss;
      gradient[i] = batch.weights[b]! * token.gradient;
      stats.kl += token.kl;
      stats.clippedLow += Number(token.clippedLow);
      stats.clippedHigh += Number(token.clippedHigh);
    });
    completions.push(stats);
  }
  return { loss, gradient, completions };
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
