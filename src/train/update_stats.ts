/** What an update says about itself: read back as one list of numbers, told apart here. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { LOSS_STATS } from "../ops/loss/grpo_loss.ts";
import { type CompletionStats, type ImportanceSamplingLevel, lossMeans } from "../rl/loss_means.ts";
import {
  type ImportanceSamplingMode,
  joinSamplerMeans,
  SAMPLER_STATS,
  type SamplerMeans,
  samplerMeans,
  type SamplerStats,
} from "../rl/sampler_weights.ts";

/** Floats that are logged of a completion beside its loss: the last is its weight as a whole. */
const COLUMNS = LOSS_STATS.length + SAMPLER_STATS.length + 1;

/** Settings that decide what a mean is taken over. */
export interface StatsConfig {
  importance_sampling_level: ImportanceSamplingLevel;
  importance_sampling_mode: ImportanceSamplingMode;
}

interface StepMeans {
  loss: number;
  /** The loss without its entropy bonus, which the caller knows; here the loss itself. */
  policyLoss: number;
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
  sequenceWeight: number;
}

export interface UpdateStats extends StepMeans {
  sampler: SamplerMeans;
}

/**
 * Statistics of one optimizer step.
 * @param values clip [2], then for each micro-batch of B completions losses [B] and stats [B,4], as
 *   ops/loss/grpo_loss.ts has them, stats [B,5] of ops/loss/sampler_weights.ts, and weights of the completions [B]
 * @param lengths tokens of each completion that are in the loss
 */
export function readUpdateStats(
  values: Float32Array,
  lengths: readonly number[],
  microBatchSize: number,
  config: StatsConfig,
): UpdateStats {
  const completions: CompletionStats[] = [];
  const ofSampler: SamplerStats[] = [];
  let loss = 0, entropy = 0, tokens = 0;
  lengths.forEach((length, i) => {
    const b = i % microBatchSize;
    const { loss: lossAt, stats: at, sampler, weight } = placesOf(
      2 + (i - b) * (1 + COLUMNS),
      b,
      microBatchSize,
    );
    const stat = (name: (typeof LOSS_STATS)[number]) =>
      length === 0 ? 0 : values[at + LOSS_STATS.indexOf(name)];
    loss += values[lossAt];
    entropy += stat("entropy");
    tokens += length;
    completions.push({
      tokens: length,
      kl: stat("kl"),
      clippedLow: stat("clippedLow"),
      clippedHigh: stat("clippedHigh"),
      sequenceWeight: length === 0 ? 1 : values[weight],
    });
    const named = SAMPLER_STATS.map((name, column) => [name, values[sampler + column]]);
    ofSampler.push({ tokens: length, ...Object.fromEntries(named) });
  });
  return {
    loss,
    policyLoss: loss,
    gradNorm: values[0],
    entropy: entropy / Math.max(tokens, 1),
    ...lossMeans(completions, config.importance_sampling_level),
    sampler: samplerMeans(ofSampler, config),
  };
}

/** Where the numbers of completion b of a micro-batch stand. @param block where those of the micro-batch begin */
function placesOf(block: number, b: number, microBatchSize: number) {
  const stats = block + microBatchSize;
  const sampler = stats + microBatchSize * LOSS_STATS.length;
  return {
    loss: block + b,
    stats: stats + b * LOSS_STATS.length,
    sampler: sampler + b * SAMPLER_STATS.length,
    weight: sampler + microBatchSize * SAMPLER_STATS.length + b,
  };
}

/**
 * What was logged of each completion: loss and stats, completion after completion, as readUpdateStats takes them behind
 * the clip where micro-batches hold one.
 * @param values as of readUpdateStats
 */
export function logOfCompletions(values: Float32Array, microBatchSize: number): Float32Array {
  const log = new Float32Array(values.length - 2);
  for (let block = 2; block < values.length; block += microBatchSize * (1 + COLUMNS)) {
    for (let b = 0; b < microBatchSize; b++) {
      const at = block - 2 + b * (1 + COLUMNS);
      const { loss, stats, sampler, weight } = placesOf(block, b, microBatchSize);
      log[at] = values[loss];
      log.set(values.subarray(stats, stats + LOSS_STATS.length), at + 1);
      log.set(values.subarray(sampler, sampler + SAMPLER_STATS.length), at + 1 + LOSS_STATS.length);
      log[at + COLUMNS] = values[weight];
    }
  }
  return log;
}

/** The losses alone, completion after completion. @param values as of readUpdateStats */
export function lossesOf(values: Float32Array, completions: number, microBatchSize: number): number[] {
  return Array.from({ length: completions }, (_, i) => {
    const b = i % microBatchSize;
    return values[placesOf(2 + (i - b) * (1 + COLUMNS), b, microBatchSize).loss];
  });
}

/** The losses of micro-batches whose logs lie one behind the other. @param logged f32 [M x B(1 + columns)] */
export function lossesIn(logged: Tensor, microBatchSize: number): Tensor {
  return tf.slice(logged.reshape([-1, microBatchSize * (1 + COLUMNS)]), [0, 0], [-1, microBatchSize]);
}

/** Means over the optimizer steps that were made of one generation batch. */
export function meanStats(updates: readonly UpdateStats[]): UpdateStats {
  const { sampler: _, ...first } = updates[0];
  const names = Object.keys(first) as (keyof StepMeans)[];
  const meanOf = (name: keyof StepMeans) =>
    updates.reduce((sum, stats) => sum + stats[name], 0) / updates.length;
  const means = Object.fromEntries(names.map((name) => [name, meanOf(name)])) as unknown as StepMeans;
  return { ...means, sampler: joinSamplerMeans(updates.map(({ sampler }) => sampler)) };
}
