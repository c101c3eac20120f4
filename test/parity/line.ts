/** What docs/parity.md is made of, and parity.test.ts holds: one comparison with a reference program. */

export interface ParityLine {
  /** What is compared, as it stands in the table. */
  what: string;
  /** Program, and what of it, that the golden numbers come from. */
  reference: string;
  /** How the error is measured, as it stands in the table: "relative Frobenius", "of the row's max", "tokens that differ"... */
  measure: string;
  /** Largest error that passes; 0 = exactly equal. */
  limit: number;
  /** Why the limit is what it is, where it is not the rounding of f32 or f64. */
  reason?: string;
  /** Largest error over the whole fixture. The GPU is open. */
  worst(): Promise<number> | number;
}

/** sqrt(sum (actual - expected)^2) / sqrt(sum expected^2); the bare error where everything expected is 0. */
export function relativeFrobenius(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assertSameLength(actual, expected);
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
  assertSameLength(actual, expected);
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
  assertSameLength(actual, expected);
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

function assertSameLength(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  if (actual.length !== expected.length) {
    throw new RangeError(`Cannot compare ${actual.length} numbers with ${expected.length} golden ones`);
  }
}
