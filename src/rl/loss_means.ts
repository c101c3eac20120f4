/** What is logged of the loss: the step's means, as TRL logs them. */

/** Whether every token has its own probability ratio, or a completion has one (GSPO, arXiv:2507.18071). */
export type ImportanceSamplingLevel = "token" | "sequence";

/** Sums over the active tokens of one completion. */
export interface CompletionStats {
  tokens: number;
  kl: number;
  clippedLow: number;
  clippedHigh: number;
  /** Of policy_weights.ts, of the completion as a whole; left out: 1, as without tokens. */
  sequenceWeight?: number;
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
  /** Over completions: the weight that `vespo` gives each as a whole; 1 for other loss types. */
  sequenceWeight: number;
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
    sequenceWeight: total(({ sequenceWeight = 1 }) => sequenceWeight) / Math.max(completions.length, 1),
  };
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
