/** A run's rows in W&B under the names of metrics.jsonl, to be held against it. */
import { METRIC_NAMES, type MetricRow } from "../../src/tracking/metrics.ts";

/** The numbers of W&B's rows. */
export const asMetrics = (history: readonly Record<string, unknown>[]) =>
  history.map((row) => ({
    step: row._step,
    ...Object.fromEntries(METRIC_NAMES.flatMap((name) => {
      const value = row[name] ?? row[`train/${name}`];
      return value === undefined ? [] : [[name, value]];
    })),
  }));

/** The same of rows of metrics.jsonl; what it has of a step is one row in W&B. */
export function plainRows(rows: readonly MetricRow[]) {
  const ofStep = new Map<number, Record<string, unknown>>();
  for (const { step, ...row } of rows) ofStep.set(step, { ...ofStep.get(step), _step: step, ...row });
  return asMetrics([...ofStep.values()]);
}
