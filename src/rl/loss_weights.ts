/** How token losses are averaged over an optimizer step. */

import { LOSS_TYPES, type LossType } from "./loss_types.ts";

interface WeightTotals {
  /** Completions per micro-batch of this rank, in order; only averages over micro-batches depend on the cut. */
  microBatchSizes: readonly number[];
  /** Only averages over the longest completions read it. */
  maxCompletionLength: number;
  /** Ranks that take part, each with as many completions. Default 1. */
  worldSize?: number;
  /**
   * Active tokens of the step over all ranks; only averages over tokens read it. Default: the sum of `lengths`. Where
   * a generation batch is trained on in several steps, the mean over these, as in TRL.
   */
  totalTokens?: number;
}

/**
 * Weight w_b of each completion so that loss = sum_b w_b * sum_t mask[b,t] * l[b,t] over the optimizer step,
 * summed (not averaged) over micro-batches and ranks. N = completions of the step and M = micro-batches, both
 * over all ranks; len_b = active tokens.
 *
 *   average over         w_b
 *   completions          1 / (N * max(len_b, 1))
 *   micro-batches        1 / (M * max(tokens of its micro-batch, 1))
 *   longest completions  1 / (N * max_completion_length)
 *   tokens               1 / max(tokens of the step, 1)
 *   sums of completions  1 / N
 *
 * These are TRL's values: its loss of a micro-batch, divided by the accumulation steps, micro-batches being
 * equal. A completion left out of the loss (length 0) still counts in N.
 *
 * @param lengths active tokens of each completion of this rank, [N / worldSize]
 * @throws RangeError when the micro-batches do not add up to the completions
 */
export function sequenceWeights(
  type: LossType,
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
  switch (LOSS_TYPES[type].average) {
    case "completions":
      return Float64Array.from(lengths, (length) => 1 / (completions * Math.max(length, 1)));
    case "micro-batches":
      return microBatchWeights(lengths, totals.microBatchSizes, worldSize);
    case "longest completions":
      return new Float64Array(rows).fill(1 / (completions * totals.maxCompletionLength));
    case "sums of completions":
      return new Float64Array(rows).fill(1 / completions);
    case "tokens": {
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
