/** How a metric went over a run, in the few numbers that a summary shows. */
import type { MetricName, MetricRow } from "./metrics.ts";

/** Steps whose mean stands for the end of a run; a single step's batch is small. */
export const TREND_STEPS = 5;

export interface Trend {
  first: number;
  last: number;
  /**
   * Means of the first and of the last TREND_STEPS values; of fewer, so as not to overlap, in a short run.
   */
  firstMean: number;
  lastMean: number;
}

/** A metric's values in the order of the rows. Rows without it, or where it is not finite, are left out. */
export function seriesOf(
  rows: readonly MetricRow[],
  name: MetricName,
): { steps: number[]; values: number[] } {
  const steps: number[] = [];
  const values: number[] = [];
  for (const row of rows) {
    const value = row[name];
    if (value === undefined || !Number.isFinite(value)) continue;
    steps.push(row.step);
    values.push(value);
  }
  return { steps, values };
}

/** The trend of one metric; `undefined` when no row holds it. */
export function trendOf(rows: readonly MetricRow[], name: MetricName): Trend | undefined {
  const { values } = seriesOf(rows, name);
  if (values.length === 0) return undefined;
  const meanOf = (part: readonly number[]) => part.reduce((sum, value) => sum + value, 0) / part.length;
  const window = Math.min(TREND_STEPS, Math.max(1, Math.floor(values.length / 2)));
  return {
    first: values[0],
    last: values[values.length - 1],
    firstMean: meanOf(values.slice(0, window)),
    lastMean: meanOf(values.slice(-window)),
  };
}
