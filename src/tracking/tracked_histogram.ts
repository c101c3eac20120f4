/** A distribution as W&B and trackio take it. */
import { histogramBuckets } from "./statistics.ts";

/** As wandb.Histogram and trackio.Histogram have it. */
const BUCKETS = 64;

/** Of the finite values: counts, and the edges between them, one more; null where there are none. */
export function trackedHistogram(
  type: string,
  values: readonly number[],
): { _type: string; values: number[]; bins: number[] } | null {
  const buckets = histogramBuckets(values, BUCKETS);
  if (buckets.length === 0) return null;
  return {
    _type: type,
    values: buckets.map(({ count }) => count),
    bins: [buckets[0].left, ...buckets.map(({ right }) => right)],
  };
}
