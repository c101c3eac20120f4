/** Which evaluation was the best, and when to stop looking for a better one: as transformers' Trainer does. */
import { isCost, qualityName } from "./eval_metrics.ts";

/** The config keys that decide it. */
export interface BestConfig {
  readonly metric_for_best_model: string | null;
  readonly greater_is_better: boolean | null;
  readonly early_stopping_patience: number | null;
  readonly early_stopping_threshold: number;
}

/** What the evaluations so far come to: part of every checkpoint. */
export interface BestState {
  /** Full name of the metric. */
  metric: string;
  greaterIsBetter: boolean;
  /** Steps of the best evaluation, and its value. */
  step: number;
  value: number;
  /** Evaluations in a row, the last among them, that were no improvement. */
  stale: number;
  /** Step of the last evaluation that is counted. */
  lastStep: number;
}

/** By which metric, and in which direction; null where none is asked for. */
export function bestMetricOf(
  { metric_for_best_model: name, greater_is_better }: BestConfig,
): Pick<BestState, "metric" | "greaterIsBetter"> | null {
  const metric = name === null ? null : qualityName(name);
  return metric === null ? null : { metric, greaterIsBetter: greater_is_better ?? !isCost(metric) };
}

/** A state of evaluations by another metric, or in the other direction, says nothing: null. */
export function stillBest(state: BestState | null, config: BestConfig): BestState | null {
  const wanted = bestMetricOf(config);
  const isSame = wanted !== null && state?.metric === wanted.metric &&
    state.greaterIsBetter === wanted.greaterIsBetter;
  return isSame ? state : null;
}

/**
 * The state after one more evaluation. Any better value is the new best; it counts as improvement where it is better by
 * more than early_stopping_threshold. The policy that training began with (step 0) is not counted.
 *
 * @throws RangeError when the evaluation has no such metric
 */
export function bestAfter(
  before: BestState | null,
  row: Readonly<Record<string, unknown>> & { readonly step: number },
  config: BestConfig,
): BestState | null {
  const wanted = bestMetricOf(config);
  if (wanted === null) return null;
  const value = row[wanted.metric];
  if (typeof value !== "number" || !Number.isFinite(value)) {
    const names = Object.keys(row).filter((name) => name.startsWith("eval/") && qualityName(name) !== null);
    throw new RangeError(
      `Cannot tell the best model by metric_for_best_model = "${wanted.metric}": the evaluation after step ` +
        `${row.step} has no such number, but ${names.join(", ")}; set it to one of these`,
    );
  }
  const { step } = row;
  if (step === 0) return before;
  if (before === null) return { ...wanted, step, value, stale: 0, lastStep: step };
  const gain = wanted.greaterIsBetter ? value - before.value : before.value - value;
  const stale = gain > 0 && gain > config.early_stopping_threshold ? 0 : before.stale + 1;
  return gain > 0 ? { ...wanted, step, value, stale, lastStep: step } : { ...before, stale, lastStep: step };
}

/** "eval/safe_ratio 0.953 after step 40" */
export const bestText = ({ metric, value, step }: BestState): string =>
  `${metric} ${Number(value.toPrecision(4))} after step ${step}`;

/** Whether the patience is used up. */
export const isPatienceOver = (
  state: BestState | null,
  { early_stopping_patience: patience }: BestConfig,
): boolean => state !== null && patience !== null && state.stale >= patience;
