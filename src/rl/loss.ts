/**
 * The GRPO loss and its gradient in f64: the twin the GPU kernel is held against, and the one place that
 * says how tokens are averaged. Shape letters: N = completions of the optimizer step, T = padded length.
 */

export type LossType = "grpo" | "bnpo" | "dr_grpo" | "dapo";

/** The config keys the per-token loss reads. */
export interface TokenLossConfig {
  /** KL coefficient; 0 needs no reference log-probabilities. */
  beta: number;
  epsilon: number;
  /** Upper clip range; null = epsilon. */
  epsilon_high: number | null;
}

export interface TokenLoss {
  loss: number;
  /** d loss / d logprob */
  gradient: number;
  /** k3 estimate of KL(policy || reference), nats; 0 when beta is 0. */
  kl: number;
  clippedLow: boolean;
  clippedHigh: boolean;
}

/**
 * Loss of one completion token:
 *
 *   ratio = exp(logprob - oldLogprob)
 *   loss  = -min(ratio * A, clip(ratio, 1 - epsilon, 1 + epsilon_high) * A) + beta * kl
 *   kl    = exp(ref - logprob) - (ref - logprob) - 1        (k3, http://joschu.net/blog/kl-approx.html)
 *
 * @throws TypeError when beta is not 0 and there is no reference log-probability.
 */
export function grpoTokenLoss(
  logprob: number,
  oldLogprob: number,
  refLogprob: number | null,
  advantage: number,
  config: TokenLossConfig,
): TokenLoss {
  const low = 1 - config.epsilon;
  const high = 1 + (config.epsilon_high ?? config.epsilon);
  const ratio = Math.exp(logprob - oldLogprob);
  const unclipped = ratio * advantage;
  const clipped = Math.min(Math.max(ratio, low), high) * advantage;
  // Inside the range both branches agree and pass the gradient; outside it only the unclipped one does.
  const policyGradient = unclipped <= clipped ? -unclipped : 0;
  const { kl, klGradient } = k3(logprob, refLogprob, config.beta);
  return {
    loss: -Math.min(unclipped, clipped) + config.beta * kl,
    gradient: policyGradient + config.beta * klGradient,
    kl,
    clippedLow: ratio < low && advantage < 0,
    clippedHigh: ratio > high && advantage > 0,
  };
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

export interface WeightTotals {
  /** Completions per micro-batch of this rank, in order; only bnpo's weights depend on the cut. */
  microBatchSizes: readonly number[];
  /** Only dr_grpo reads it. */
  maxCompletionLength: number;
  /** Ranks that take part, each with as many completions. Default 1. */
  worldSize?: number;
  /** Active tokens of the step over all ranks; only dapo reads it. Default: the sum of `lengths`. */
  totalTokens?: number;
}

/**
 * Weight w_b of each completion so that loss = sum_b w_b * sum_t mask[b,t] * l[b,t] over the optimizer step,
 * summed (not averaged) over micro-batches and ranks. N = completions of the step and M = micro-batches, both
 * over all ranks; len_b = active tokens.
 *
 *   grpo     1 / (N * max(len_b, 1))                      mean over completions of the mean over tokens
 *   bnpo     1 / (M * max(tokens of its micro-batch, 1))  mean over the tokens of a micro-batch
 *   dr_grpo  1 / (N * max_completion_length)              arXiv:2503.20783
 *   dapo     1 / max(tokens of the step, 1)               arXiv:2503.14476
 *
 * These are TRL's values: its loss of a micro-batch, divided by the accumulation steps, micro-batches being
 * equal. A completion left out of the loss (length 0) still counts in N.
 *
 * @param lengths active tokens of each completion of this rank, [N / worldSize]
 * @throws RangeError when the micro-batches do not add up to the completions.
 */
export function sequenceWeights(
  lossType: LossType,
  lengths: ArrayLike<number>,
  totals: WeightTotals,
): Float64Array {
  const rows = totals.microBatchSizes.reduce((total, size) => total + size, 0);
  if (rows !== lengths.length) {
    throw new RangeError(
      `Cannot weigh ${lengths.length} completions: the micro-batches must add up to as many, got ${rows}`,
    );
  }
  const worldSize = totals.worldSize ?? 1;
  const completions = rows * worldSize;
  switch (lossType) {
    case "grpo":
      return Float64Array.from(lengths, (length) => 1 / (completions * Math.max(length, 1)));
    case "bnpo":
      return microBatchWeights(lengths, totals.microBatchSizes, worldSize);
    case "dr_grpo":
      return new Float64Array(rows).fill(1 / (completions * totals.maxCompletionLength));
    case "dapo": {
      const tokens = totals.totalTokens ?? sum(lengths, 0, rows);
      return new Float64Array(rows).fill(1 / Math.max(tokens, 1));
    }
  }
}

function microBatchWeights(
  lengths: ArrayLike<number>,
  sizes: readonly number[],
  worldSize: number,
): Float64Array {
  const weights = new Float64Array(lengths.length);
  let start = 0;
  for (const size of sizes) {
    const tokens = Math.max(sum(lengths, start, start + size), 1);
    weights.fill(1 / (sizes.length * worldSize * tokens), start, start + size);
    start += size;
  }
  return weights;
}

function sum(values: ArrayLike<number>, start: number, end: number): number {
  let total = 0;
  for (let i = start; i < end; i++) total += values[i]!;
  return total;
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

export interface LossResult {
  loss: number;
  /** d loss / d logprobs, [N, T]; 0 under the mask. */
  gradient: Float64Array;
  /** Means over the active tokens of the step. */
  kl: number;
  clipRatioLow: number;
  clipRatioHigh: number;
  clipRatioRegion: number;
}

/** loss = sum_b w_b * sum_t mask[b,t] * l[b,t], its gradient, and the step's KL and clip ratios. */
export function grpoLossF64(batch: LossBatch, config: TokenLossConfig): LossResult {
  const rows = batch.advantages.length;
  const columns = rows === 0 ? 0 : batch.logprobs.length / rows;
  const gradient = new Float64Array(batch.logprobs.length);
  let loss = 0, kl = 0, low = 0, high = 0, tokens = 0;
  for (let b = 0; b < rows; b++) {
    for (let i = b * columns; i < (b + 1) * columns; i++) {
      if (batch.completionMask[i] === 0) continue;
      const reference = batch.refLogprobs === null ? null : batch.refLogprobs[i]!;
      const token = grpoTokenLoss(
        batch.logprobs[i]!,
        batch.oldLogprobs[i]!,
        reference,
        batch.advantages[b]!,
        config,
      );
      loss += batch.weights[b]! * token.loss;
      gradient[i] = batch.weights[b]! * token.gradient;
      kl += token.kl;
      low += Number(token.clippedLow);
      high += Number(token.clippedHigh);
      tokens++;
    }
  }
  const count = Math.max(tokens, 1);
  return {
    loss,
    gradient,
    kl: kl / count,
    clipRatioLow: low / count,
    clipRatioHigh: high / count,
    clipRatioRegion: (low + high) / count,
  };
}
