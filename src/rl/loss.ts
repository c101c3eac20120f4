/**
 * The GRPO loss and its gradient in f64: the twin that the GPU kernel is held against. How tokens are averaged says
 * loss_weights.ts. Shape letters: N = completions of the optimizer step, T = padded length.
 */

import type { LossType } from "./loss_weights.ts";

/** Whether every token has its own probability ratio, or a completion has one (GSPO, arXiv:2507.18071). */
export type ImportanceSamplingLevel = "token" | "sequence";

/** The config keys the loss of a token reads. */
export interface TokenLossConfig {
  loss_type: LossType;
  importance_sampling_level: ImportanceSamplingLevel;
  /** KL coefficient; 0 needs no reference log-probabilities. */
  beta: number;
  epsilon: number;
  /** Upper clip range; null = epsilon. For `cispo` the largest ratio itself. */
  epsilon_high: number | null;
  /** Upper bound of the unclipped ratio (two-sided clipping, arXiv:2505.07291); null = none. */
  delta: number | null;
  /** Multiply the KL term by the ratio: the gradient of reverse KL without bias (arXiv:2512.02556). */
  use_bias_correction_kl: boolean;
}

/** The bounds that both the twin and the kernel clip ratios with. */
export interface ClipBounds {
  low: number;
  high: number;
  delta: number;
}

/** Clip bounds of a configuration; what is not bounded is infinite. */
export function clipBounds(config: TokenLossConfig): ClipBounds {
  const epsilonHigh = config.epsilon_high ?? config.epsilon;
  if (config.loss_type === "cispo") return { low: -Infinity, high: epsilonHigh, delta: Infinity };
  return { low: 1 - config.epsilon, high: 1 + epsilonHigh, delta: config.delta ?? Infinity };
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
 *   loss  = -min(min(ratio, delta) * A, clip(ratio, 1 - epsilon, 1 + epsilon_high) * A) + beta * kl
 *   loss  = -stopgrad(min(ratio, epsilon_high)) * A * logprob + beta * kl       for cispo (arXiv:2506.13585)
 *   kl    = exp(ref - logprob) - (ref - logprob) - 1        (k3, http://joschu.net/blog/kl-approx.html)
 *           * ratio with use_bias_correction_kl
 *
 * A sequence's ratio depends on every token with weight 1 / length, and every token's loss on it; so the gradient of
 * the policy term has the form that it has for level "token", and that of the KL term its mean in the token's place.
 *
 * @param refLogprobs null when beta is 0
 * @param held values of `logprobs` where the formula holds them constant; another list only to difference numerically
 * @throws TypeError when beta is not 0 and there are no reference log-probabilities.
 */
export function completionLosses(
  logprobs: ArrayLike<number>,
  oldLogprobs: ArrayLike<number>,
  refLogprobs: ArrayLike<number> | null,
  advantage: number,
  config: TokenLossConfig,
  held: ArrayLike<number> = logprobs,
): TokenLoss[] {
  const { low, high, delta } = clipBounds(config);
  const ratios = importanceRatios(logprobs, oldLogprobs, config.importance_sampling_level);
  const heldRatios = importanceRatios(held, oldLogprobs, config.importance_sampling_level);
  const terms = Array.from(logprobs, (logprob, t) => k3(logprob, refLogprobs?.[t] ?? null, config.beta));
  const meanKl = sum(terms.map(({ kl }) => kl)) / Math.max(terms.length, 1);
  return terms.map(({ kl, klGradient }, t) => {
    const ratio = ratios[t]!;
    const policy = config.loss_type === "cispo"
      ? weightedLogprob(logprobs[t]!, Math.min(heldRatios[t]!, high) * advantage)
      : clippedRatio(ratio, advantage, low, high, delta);
    const ratioKl = config.importance_sampling_level === "token" ? kl : meanKl;
    const corrected = config.use_bias_correction_kl;
    const klTerm = corrected ? ratio * kl : kl;
    return {
      loss: policy.loss + config.beta * klTerm,
      gradient: policy.gradient + config.beta * (corrected ? ratio * (klGradient + ratioKl) : klGradient),
      kl: klTerm,
      clippedLow: Math.min(ratio, delta) < low && advantage < 0,
      clippedHigh: Math.min(ratio, delta) > high && advantage > 0,
    };
  });
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

interface PolicyTerm {
  loss: number;
  gradient: number;
}

function weightedLogprob(logprob: number, weight: number): PolicyTerm {
  return { loss: -weight * logprob, gradient: -weight };
}

function clippedRatio(
  ratio: number,
  advantage: number,
  low: number,
  high: number,
  delta: number,
): PolicyTerm {
  const unclipped = Math.min(ratio, delta) * advantage;
  const clipped = Math.min(Math.max(ratio, low), high) * advantage;
  // Inside the range both branches agree and pass the gradient; outside it only the unclipped one does, below delta.
  const passes = unclipped <= clipped && ratio <= delta;
  return { loss: -Math.min(unclipped, clipped), gradient: passes ? -unclipped : 0 };
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
export interface LossBatch {
  logprobs: ArrayLike<number>;
  oldLogprobs: ArrayLike<number>;
  /** null when beta is 0. */
  refLogprobs: ArrayLike<number> | null;
  /** [N] */
  advantages: ArrayLike<number>;
  /** 1 up to and including the first EOS, then 0. What lies under a 0 is never read. */
  completionMask: ArrayLike<number>;
  /** w_b of `sequenceWeights`, [N] */
  weights: ArrayLike<number>;
}

/** Sums over the active tokens of one completion. */
export interface CompletionStats {
  tokens: number;
  kl: number;
  clippedLow: number;
  clippedHigh: number;
}

export interface LossResult {
  loss: number;
  /** d loss / d logprobs, [N, T]; 0 under the mask. */
  gradient: Float64Array;
  completions: CompletionStats[];
}

/** loss = sum_b w_b * sum_t mask[b,t] * l[b,t], its gradient, and what is logged of each completion. */
export function grpoLossF64(batch: LossBatch, config: TokenLossConfig): LossResult {
  const rows = batch.advantages.length;
  const columns = rows === 0 ? 0 : batch.logprobs.length / rows;
  const gradient = new Float64Array(batch.logprobs.length);
  const completions: CompletionStats[] = [];
  let loss = 0;
  for (let b = 0; b < rows; b++) {
    const places = Array.from({ length: columns }, (_, t) => b * columns + t)
      .filter((i) => batch.completionMask[i] !== 0);
    const pick = (values: ArrayLike<number>) => places.map((i) => values[i]!);
    const tokens = completionLosses(
      pick(batch.logprobs),
      pick(batch.oldLogprobs),
      batch.refLogprobs && pick(batch.refLogprobs),
      batch.advantages[b]!,
      config,
    );
    const stats: CompletionStats = { tokens: places.length, kl: 0, clippedLow: 0, clippedHigh: 0 };
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

/** The step's means, as TRL logs them. */
export interface LossMeans {
  kl: number;
  clipRatioLow: number;
  clipRatioHigh: number;
  clipRatioRegion: number;
  /** Smallest clipped share of a completion below, largest above. */
  clipRatioLowMin: number;
  clipRatioHighMax: number;
}

/**
 * Means over the active tokens, whatever micro-batch they were in; clip ratios of level "sequence" are means over
 * completions, a completion being clipped or not as a whole.
 */
export function lossMeans(
  completions: readonly CompletionStats[],
  level: ImportanceSamplingLevel,
): LossMeans {
  const total = (read: (stats: CompletionStats) => number) =>
    completions.reduce((total, stats) => total + read(stats), 0);
  const perToken = (value: number) => value / Math.max(total(({ tokens }) => tokens), 1);
  const shares = (read: (stats: CompletionStats) => number) =>
    completions.filter(({ tokens }) => tokens > 0).map((stats) => read(stats) / stats.tokens);
  const low = shares((stats) => stats.clippedLow);
  const high = shares((stats) => stats.clippedHigh);
  const clipped = (read: (stats: CompletionStats) => number, ofEach: number[]) =>
    level === "token" ? perToken(total(read)) : sum(ofEach) / Math.max(completions.length, 1);
  const clipRatioLow = clipped((stats) => stats.clippedLow, low);
  const clipRatioHigh = clipped((stats) => stats.clippedHigh, high);
  return {
    kl: perToken(total(({ kl }) => kl)),
    clipRatioLow,
    clipRatioHigh,
    clipRatioRegion: clipRatioLow + clipRatioHigh,
    clipRatioLowMin: low.length === 0 ? 0 : Math.min(...low),
    clipRatioHighMax: Math.max(...high, 0),
  };
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
