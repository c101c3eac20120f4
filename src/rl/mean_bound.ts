/** An upper confidence bound of a mean. */
import { betaQuantile } from "./incomplete_beta.ts";

/**
 * The value below which Student's t with so many degrees of freedom lies with this probability: t^2 / (t^2 + n) has the
 * beta distribution of 1/2 and n/2.
 * @param probability in [0.5, 1)
 * @param degrees >= 1
 */
export function studentQuantile(probability: number, degrees: number): number {
  const share = betaQuantile(2 * probability - 1, 0.5, degrees / 2);
  return Math.sqrt(degrees * share / (1 - share));
}

/**
 * Student's one-sided bound, mean + t * s / sqrt(n): of independent values that are normally distributed, the mean
 * that they are drawn from lies below it with this confidence (arXiv:2506.08266, which trains lambda on it).
 * @param values n >= 2 of them
 * @param confidence in [0.5, 1)
 * @throws RangeError when there are fewer than two
 */
export function meanUpperBound(values: readonly number[], confidence: number): number {
  const n = values.length;
  if (n < 2) throw new RangeError(`Cannot bound a mean: need at least 2 values, got ${n}; take more`);
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return mean + studentQuantile(confidence, n - 1) * Math.sqrt(squares / (n - 1) / n);
}
