/** What docs/parity.md is made of, and parity.test.ts holds: one comparison with a reference program. */

export interface ParityLine {
  /** What is compared, as it stands in the table. */
  what: string;
  /** Program, and what of it, that the golden numbers come from. */
  reference: string;
  /** How the error is measured, in the table's words: "relative Frobenius", "of the row's max", "tokens that differ" */
  measure: string;
  /** Largest error that passes; 0 = exactly equal. At most LOOSEST times what is measured, or else with a reason. */
  limit: number;
  /** Why the limit is what it is, where it is not some times the error that was measured. */
  reason?: string;
  /** Why the device that is open cannot measure this line; undefined when it can. Any device can, unless set. */
  missing?(): string | undefined;
  /** Largest error over the whole fixture. The GPU is open. */
  worst(): Promise<number> | number;
}

/** A line's largest error in one runtime, or why its device could not measure it. */
export type Measured = number | { missing: string };

/** A limit further above the measured error than this would let a broken program pass, and needs a reason. */
export const LOOSEST = 10;

/** Measures a line, where the device can. */
export async function measureLine(line: ParityLine): Promise<Measured> {
  const missing = line.missing?.();
  return missing === undefined ? await line.worst() : { missing };
}

/** Whether an error passes; one below 0 is none, but the maximum over no case at all. What has none cannot fail. */
export function isWithin(worst: Measured, { limit }: ParityLine): boolean {
  return typeof worst !== "number" || (worst >= 0 && worst <= limit);
}

/** Whether the limit is near the errors measured in each runtime, or says why it is not. 0 is as near as can be. */
export function isLimitHonest(errors: readonly number[], { limit, reason }: ParityLine): boolean {
  return limit === 0 || limit <= LOOSEST * Math.max(...errors) || reason !== undefined;
}

/** sqrt(sum (actual - expected)^2) / sqrt(sum expected^2); the bare error where everything expected is 0. */
export function relativeFrobenius(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assertComparable(actual, expected);
  let error = 0, size = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i] - expected[i]) ** 2;
    size += expected[i] ** 2;
  }
  return nanAsInfinite(Math.sqrt(size === 0 ? error : error / size));
}

/** Largest |actual - expected| / |expected|, with |expected| taken as at least `floor`. */
export function worstRelative(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  floor = Number.MIN_VALUE,
): number {
  assertComparable(actual, expected);
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] === expected[i]) continue;
    const error = Math.abs(actual[i] - expected[i]) / Math.max(Math.abs(expected[i]), floor);
    worst = Math.max(worst, nanAsInfinite(error));
  }
  return worst;
}

/** Largest |actual - expected| over a row, as a share of the row's largest |expected|; worst of all rows. */
export function worstOfRowMax(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  columns: number,
): number {
  assertComparable(actual, expected);
  let worst = 0;
  for (let start = 0; start < expected.length; start += columns) {
    let error = 0, size = 0;
    for (let i = start; i < start + columns; i++) {
      error = Math.max(error, nanAsInfinite(Math.abs(actual[i] - expected[i])));
      size = Math.max(size, Math.abs(expected[i]));
    }
    worst = Math.max(worst, size === 0 ? error : error / size);
  }
  return worst;
}

/** How many places differ between two lists; a missing or surplus item counts as one. */
export function differences<T>(actual: ArrayLike<T>, expected: ArrayLike<T>): number {
  let count = 0;
  for (let i = 0; i < Math.max(actual.length, expected.length); i++) {
    if (i >= actual.length || i >= expected.length || actual[i] !== expected[i]) count++;
  }
  return count;
}

// Math.max and comparisons let NaN pass for "not worse".
function nanAsInfinite(error: number): number {
  return Number.isNaN(error) ? Infinity : error;
}

function assertComparable(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  if (expected.length === 0) {
    throw new RangeError("Nothing to compare with: a comparison of nothing would pass");
  }
  if (actual.length !== expected.length) {
    throw new RangeError(`Cannot compare ${actual.length} numbers with ${expected.length} golden ones`);
  }
}
