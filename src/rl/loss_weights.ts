/** How token losses are averaged over an optimizer step. */

/** Names and values as in TRL; `cispo` also has a token loss of its own (loss.ts). */
export type LossType = "grpo" | "bnpo" | "dr_grpo" | "dapo" | "cispo";

export interface WeightTotals {
  /** Completions per micro-batch of this rank, in order; only bnpo's weights depend on the cut. */
  microBatchSizes: readonly number[];
  /** Only dr_grpo reads it. */
  maxCompletionLength: number;
  /** Ranks that take part, each with as many completions. Default 1. */
  worldSize?: number;
  /**
   * Active tokens of the step over all ranks; only dapo and cispo read it. Default: the sum of `lengths`. Where a
   * generation batch is trained on in several steps, the mean over these, as in TRL.
   */
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
 *   cispo    as dapo                                      arXiv:2506.13585
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
    case "dapo":
    case "cispo": {
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
