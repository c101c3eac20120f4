/**
 * How far the log-probs of the sampler lie from those of the trainer for the same policy, and TRL's correction for it:
 * sampled from mu and trained as pi_old, a token's policy term is multiplied by pi_old / mu, which is bounded.
 * Where both compute the same bits every weight is 1.
 */

/** TRL's vllm_importance_sampling_mode: whose ratio it is, and what becomes of one beyond the bounds. */
export const IMPORTANCE_SAMPLING_MODES = [
  "token_truncate",
  "token_mask",
  "sequence_truncate",
  "sequence_mask",
] as const;

export type ImportanceSamplingMode = (typeof IMPORTANCE_SAMPLING_MODES)[number];

/** The config keys that a weight depends on. */
export interface SamplerWeightsConfig {
  importance_sampling_mode: ImportanceSamplingMode;
  /** null = no bound. */
  importance_sampling_clip_min: number | null;
  importance_sampling_clip_max: number | null;
}

/** Over the tokens of one completion. */
export interface SamplerStats {
  tokens: number;
  /** Of |trainer - sampler|, nats. */
  differenceSum: number;
  differenceMax: number;
  weightSum: number;
  weightMin: number;
  weightMax: number;
}

/** Names of the sums and extremes, in the order of the kernel's output. */
export const SAMPLER_STATS = [
  "differenceSum",
  "differenceMax",
  "weightSum",
  "weightMin",
  "weightMax",
] as const satisfies readonly (keyof SamplerStats)[];

export const isOfSequence = (mode: ImportanceSamplingMode): boolean => mode.startsWith("sequence");
export const isMasked = (mode: ImportanceSamplingMode): boolean => mode.endsWith("mask");

/** What is not bounded is infinite. */
export function weightBounds(config: SamplerWeightsConfig): { low: number; high: number } {
  return {
    low: config.importance_sampling_clip_min ?? -Infinity,
    high: config.importance_sampling_clip_max ?? Infinity,
  };
}

/**
 * Weights of the tokens of one completion, and what is logged of them:
 *
 *   ratio  = exp(trainer - sampler), for "sequence" modes exp(sum over the completion of trainer - sampler)
 *   weight = clamp(ratio, clip_min, clip_max), for "mask" modes the ratio itself, or 0 where it is beyond a bound
 *
 * @param trainer log-probs [T] of the policy that sampled, as training computes them
 * @param sampler log-probs [T], as decoding computed them
 */
export function samplerWeightsF64(
  trainer: ArrayLike<number>,
  sampler: ArrayLike<number>,
  config: SamplerWeightsConfig,
): { weights: number[]; stats: SamplerStats } {
  const { low, high } = weightBounds(config);
  const differences = Array.from(trainer, (logprob, t) => logprob - sampler[t]!);
  const whole = differences.reduce((sum, difference) => sum + difference, 0);
  const weights = differences.map((difference) => {
    const ratio = Math.exp(isOfSequence(config.importance_sampling_mode) ? whole : difference);
    if (isMasked(config.importance_sampling_mode)) return ratio < low || ratio > high ? 0 : ratio;
    return Math.min(Math.max(ratio, low), high);
  });
  const sizes = differences.map(Math.abs);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return {
    weights,
    stats: {
      tokens: weights.length,
      differenceSum: sum(sizes),
      differenceMax: Math.max(...sizes, 0),
      weightSum: sum(weights),
      weightMin: Math.min(...weights),
      weightMax: Math.max(...weights),
    },
  };
}

/** Their names in the log. */
export const SAMPLER_METRICS = [
  "sampler/logprob_diff_mean",
  "sampler/logprob_diff_max",
  "sampler/ratio_min",
  "sampler/ratio_mean",
  "sampler/ratio_max",
] as const;

/** Values of those that a run has: the bounded ratios where they are applied. */
export function samplerMetrics(
  means: SamplerMeans,
  isCorrected: boolean,
): Partial<Record<(typeof SAMPLER_METRICS)[number], number>> {
  return {
    "sampler/logprob_diff_mean": means.differenceMean,
    "sampler/logprob_diff_max": means.differenceMax,
    ...(isCorrected && {
      "sampler/ratio_min": means.weightMin,
      "sampler/ratio_mean": means.weightMean,
      "sampler/ratio_max": means.weightMax,
    }),
  };
}

/** What is logged of the sampler, as TRL logs it. */
export interface SamplerMeans {
  differenceMean: number;
  differenceMax: number;
  /** Of the weights: over tokens, in "sequence" modes over completions. */
  weightMin: number;
  weightMean: number;
  weightMax: number;
}

/** Means and extremes over the completions that have tokens; all 0 where none has, as in TRL. */
export function samplerMeans(
  completions: readonly SamplerStats[],
  { importance_sampling_mode }: Pick<SamplerWeightsConfig, "importance_sampling_mode">,
): SamplerMeans {
  const counted = completions.filter(({ tokens }) => tokens > 0);
  const total = (read: (stats: SamplerStats) => number) =>
    counted.reduce((sum, stats) => sum + read(stats), 0);
  const tokens = Math.max(total((stats) => stats.tokens), 1);
  const ofSequences = () => total((stats) => stats.weightSum / stats.tokens) / Math.max(counted.length, 1);
  return {
    differenceMean: total((stats) => stats.differenceSum) / tokens,
    differenceMax: Math.max(0, ...counted.map((stats) => stats.differenceMax)),
    weightMin: counted.length === 0 ? 0 : Math.min(...counted.map((stats) => stats.weightMin)),
    weightMean: isOfSequence(importance_sampling_mode)
      ? ofSequences()
      : total((stats) => stats.weightSum) / tokens,
    weightMax: Math.max(0, ...counted.map((stats) => stats.weightMax)),
  };
}

/** Those of several optimizer steps on one generation batch, each of as many completions. */
export function joinSamplerMeans(steps: readonly SamplerMeans[]): SamplerMeans {
  const each = (name: keyof SamplerMeans) => steps.map((means) => means[name]);
  const mean = (name: keyof SamplerMeans) => each(name).reduce((sum, value) => sum + value, 0) / steps.length;
  return {
    differenceMean: mean("differenceMean"),
    differenceMax: Math.max(...each("differenceMax")),
    weightMin: Math.min(...each("weightMin")),
    weightMean: mean("weightMean"),
    weightMax: Math.max(...each("weightMax")),
  };
}
