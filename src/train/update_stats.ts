/** What an update says about itself: read back as one list of numbers, told apart here. */
import { LOSS_STATS } from "../ops/loss/grpo_loss.ts";
import { type CompletionStats, type ImportanceSamplingLevel, lossMeans } from "../rl/loss_means.ts";

export interface UpdateStats {
  loss: number;
  /** Before clipping. */
  gradNorm: number;
  /** Means over the completion tokens. */
  kl: number;
  entropy: number;
  clipRatioLow: number;
  clipRatioHigh: number;
  clipRatioRegion: number;
  clipRatioLowMin: number;
  clipRatioHighMax: number;
}

/**
 * Statistics of one optimizer step.
 * @param values clip [2], then for each micro-batch of B completions losses [B] and stats [B,4], as
 *   ops/loss/grpo_loss.ts has them
 * @param lengths tokens of each completion that are in the loss
 */
export function readUpdateStats(
  values: Float32Array,
  lengths: readonly number[],
  microBatchSize: number,
  level: ImportanceSamplingLevel,
): UpdateStats {
  const columns = LOSS_STATS.length;
  const completions: CompletionStats[] = [];
  let loss = 0, entropy = 0, tokens = 0;
  lengths.forEach((length, i) => {
    const b = i % microBatchSize;
    const block = 2 + (i - b) * (1 + columns);
    const at = block + microBatchSize + b * columns;
    const stat = (name: (typeof LOSS_STATS)[number]) =>
      length === 0 ? 0 : values[at + LOSS_STATS.indexOf(name)];
    loss += values[block + b];
    entropy += stat("entropy");
    tokens += length;
    completions.push({
      tokens: length,
      kl: stat("kl"),
      clippedLow: stat("clippedLow"),
      clippedHigh: stat("clippedHigh"),
    });
  });
  const means = lossMeans(completions, level);
  return { loss, gradNorm: values[0], entropy: entropy / Math.max(tokens, 1), ...means };
}

/**
 * What was logged of each completion: loss and stats, completion after completion, as readUpdateStats takes them behind
 * the clip where micro-batches hold one.
 * @param values as of readUpdateStats
 */
export function logOfCompletions(values: Float32Array, microBatchSize: number): Float32Array {
  const columns = LOSS_STATS.length;
  const log = new Float32Array(values.length - 2);
  for (let block = 2; block < values.length; block += microBatchSize * (1 + columns)) {
    for (let b = 0; b < microBatchSize; b++) {
      const [at, stats] = [block - 2 + b * (1 + columns), block + microBatchSize + b * columns];
      log[at] = values[block + b];
      log.set(values.subarray(stats, stats + columns), at + 1);
    }
  }
  return log;
}

/** Means over the optimizer steps that were made of one generation batch. */
export function meanStats(updates: readonly UpdateStats[]): UpdateStats {
  const names = Object.keys(updates[0]) as (keyof UpdateStats)[];
  const meanOf = (name: keyof UpdateStats) =>
    updates.reduce((sum, stats) => sum + stats[name], 0) / updates.length;
  return Object.fromEntries(names.map((name) => [name, meanOf(name)])) as unknown as UpdateStats;
}
