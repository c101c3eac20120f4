/** A run's records as its folder would give them. */
import type { MetricRow } from "../../src/tracking/metrics.ts";
import type { RunRecords } from "../../src/tracking/run_records.ts";

/** @param rows of metrics, where nothing else is given */
export const runOf = (rows: readonly object[], more: Partial<RunRecords> = {}): RunRecords => ({
  name: "run",
  rows: rows as MetricRow[],
  tables: [],
  scatters: [],
  config: {},
  changes: [],
  weightChange: null,
  facts: {},
  ...more,
});
