/** The exact interval of a share that was counted. */
import { betaQuantile } from "./incomplete_beta.ts";

export type Interval = readonly [low: number, high: number];

/**
 * Clopper and Pearson's interval of a share (Biometrika 1934): whatever the share is, the interval covers it in at
 * least `level` of all samples. low solves P(X >= count) = (1 - level)/2, high P(X <= count) = (1 - level)/2.
 * @param count how many of `total` were counted
 * @throws RangeError when count is no whole number between 0 and total, or total is 0
 */
export function exactInterval(count: number, total: number, level = 0.95): Interval {
  if (
    !Number.isSafeInteger(count) || !Number.isSafeInteger(total) || total < 1 || count < 0 || count > total
  ) {
    throw new RangeError(
      `Cannot give the interval of a share: need 0 <= count <= total, got ${count} of ${total}`,
    );
  }
  const tail = (1 - level) / 2;
  return [
    count === 0 ? 0 : betaQuantile(tail, count, total - count + 1),
    count === total ? 1 : betaQuantile(1 - tail, count + 1, total - count),
  ];
}
