/** Two models that answered the same prompts, held against each other. */
import type { Interval } from "./binomial.ts";
import { bootstrapMeans, type BootstrapOptions } from "./bootstrap.ts";

export interface WinRate {
  /** Mean of 1 for a win, 0.5 for a tie, 0 for a loss. */
  rate: number;
  interval: Interval;
  wins: number;
  ties: number;
  losses: number;
}

/** Mean of the differences where each pair counts once, and how often the first of a pair is the better one. */
export interface Paired {
  difference: number;
  difference_interval: Interval;
  win_rate: WinRate;
}

/**
 * Pairs by pairs.
 * @param own values of the one model, `other` those of the other for the same prompts; at least one
 * @param isLessBetter as of costs
 */
export function comparePairs(
  own: readonly number[],
  other: readonly number[],
  isLessBetter: boolean,
  options: BootstrapOptions,
): Paired {
  const differences = own.map((value, i) => value - other[i]!);
  const gains = differences.map((difference) => Math.sign(isLessBetter ? -difference : difference));
  const points = gains.map((gain) => (gain + 1) / 2);
  const [difference_interval, interval] = bootstrapMeans([differences, points], options);
  const countOf = (wanted: number) => gains.filter((gain) => gain === wanted).length;
  return {
    difference: meanOf(differences),
    difference_interval: difference_interval!,
    win_rate: {
      rate: meanOf(points),
      interval: interval!,
      wins: countOf(1),
      ties: gains.filter((gain) => gain === 0).length,
      losses: countOf(-1),
    },
  };
}

/** A list with the lengths of what was judged, in words. */
export interface Judged {
  values: readonly number[];
  words: readonly number[];
}

/**
 * Change of the value for one word more: sum over the models and their answers of (words - mean words)(value - mean
 * value), over that of (words - mean words)^2, means being each model's own; 0 where lengths do not differ.
 */
export function slopePerWord(models: readonly Judged[]): number {
  let [covariance, variance] = [0, 0];
  for (const { values, words } of models) {
    const [value, length] = [meanOf(values), meanOf(words)];
    words.forEach((count, i) => {
      covariance += (count - length) * (values[i]! - value);
      variance += (count - length) ** 2;
    });
  }
  return variance > 0 ? covariance / variance : 0;
}

/**
 * What the mean of `own` would be, were its answers as long as the base's on average (analysis of covariance):
 * mean value - slope (mean words - mean words of the base), with the slope that both models share.
 */
export function lengthControlledMean(own: Judged, base: Judged): number {
  return meanOf(own.values) - slopePerWord([own, base]) * (meanOf(own.words) - meanOf(base.words));
}

const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
