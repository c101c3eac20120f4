/** Small summaries of number lists. All are pure, and none uses randomness. */

/** Arithmetic mean; `undefined` for an empty list, so that no number is made up. */
export function mean(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Sample standard deviation (divisor n - 1, as in the advantages); 0 for one value, `undefined` for none. */
export function standardDeviation(values: readonly number[]): number | undefined {
  const center = mean(values);
  if (center === undefined) return undefined;
  if (values.length === 1) return 0;
  const squares = values.reduce((sum, value) => sum + (value - center) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1));
}

/** Smallest and largest value; `undefined` for an empty list. */
export function extent(values: readonly number[]): [min: number, max: number] | undefined {
  if (values.length === 0) return undefined;
  let min = Infinity;
  let max = -Infinity;
  for (const value of values) {
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return [min, max];
}

/** `min(count, total)` different indices of a list of `total`, evenly spaced and ascending, starting at 0. */
export function evenlySpacedIndices(total: number, count: number): number[] {
  const taken = Math.min(total, Math.max(count, 0));
  return Array.from({ length: taken }, (_, index) => Math.floor((index * total) / taken));
}

/** At most `most` of the values, evenly spaced, the first and the last among them. */
export function spread<Value>(values: readonly Value[], most: number): Value[] {
  const last = values.length - 1;
  if (last < most) return [...values];
  return Array.from({ length: most }, (_, i) => values[Math.round((i * last) / (most - 1))]);
}

/** At most `most` values: means of as many runs of neighbours, the values themselves where they are no more. */
export function thinned(values: readonly number[], most: number): number[] {
  if (values.length <= most) return [...values];
  return Array.from({ length: most }, (_, i) => {
    const part = values.slice(
      Math.floor((i * values.length) / most),
      Math.floor(((i + 1) * values.length) / most),
    );
    return mean(part)!;
  });
}

/** Centred moving mean over 2 * halfWidth + 1 values; at both ends over those of them that there are. */
export function movingMean(values: readonly number[], halfWidth: number): number[] {
  return values.map((_, center) => {
    const window = values.slice(Math.max(0, center - halfWidth), center + halfWidth + 1);
    return window.reduce((sum, value) => sum + value, 0) / window.length;
  });
}

/** One histogram bucket: `count` values in [left, right). The last bucket includes its right edge. */
export interface HistogramBucket {
  left: number;
  right: number;
  count: number;
}

/**
 * Histogram of the finite values in `bucketCount` buckets of equal width between their extremes.
 * Equal values give one bucket of width 1 around them; no finite value gives no bucket.
 */
export function histogramBuckets(values: readonly number[], bucketCount = 30): HistogramBucket[] {
  const finite = values.filter(Number.isFinite);
  const range = extent(finite);
  if (range === undefined) return [];
  const [min, max] = range;
  if (min === max) return [{ left: min - 0.5, right: max + 0.5, count: finite.length }];
  const edge = (index: number) => min + ((max - min) * index) / bucketCount;
  const buckets = Array.from(
    { length: bucketCount },
    (_, i) => ({ left: edge(i), right: edge(i + 1), count: 0 }),
  );
  for (const value of finite) {
    const index = Math.floor(((value - min) / (max - min)) * bucketCount);
    buckets[Math.min(index, bucketCount - 1)].count += 1;
  }
  return buckets;
}
