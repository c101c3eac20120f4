/** Which costs a run has, by what it logged. */
import type { MetricName, MetricRow } from "./metrics.ts";

/** A metric, and what it is called where it is shown. */
export type Labelled = readonly [name: MetricName, label: string];

/** Names of the costs, in the order in which they are met; none where there is one cost, which has no name. */
function costNames(rows: readonly MetricRow[]): string[] {
  const keys = new Set(rows.flatMap((row) => Object.keys(row)));
  return [...keys].flatMap((key) => /^lambda\/(.+)\/value$/.exec(key)?.[1] ?? []);
}

/** What of lambda is shown: of one cost, or of each. @param part as in "lambda/value" */
export function lambdaMetrics(
  rows: readonly MetricRow[],
  part: "value" | "effective" | "J_C" | "J_C_ema",
  label: string,
): Labelled[] {
  const names = costNames(rows);
  if (names.length === 0) return [[`lambda/${part}`, label]];
  return names.map((name) => [`lambda/${name}/${part}`, `${label}, ${name}`]);
}

/** A metric of each cost, where there are several. @param part as in "costs/NAME/mean" */
export function ofEachCost(
  rows: readonly MetricRow[],
  prefix: "" | "eval/",
  part: "mean" | "safe_ratio",
  label: string,
): Labelled[] {
  return costNames(rows).map((name) => [`${prefix}costs/${name}/${part}`, `${label}, ${name}`]);
}
