/** A step in one line: whole columns, as many as there is room for. */
import { formatDuration } from "../../config/units.ts";
import type { MetricName, MetricRow } from "../../tracking/metrics.ts";
import { lambdaMetrics } from "../../tracking/cost_names.ts";
import { fittingColumns } from "./columns.ts";

export const stepOf = (step: number, maxSteps: number) =>
  `${String(step).padStart(String(maxSteps).length)}/${maxSteps}`;

/**
 * `12/500  safe 0.43  reward -0.28  cost  1.55  lambda 1.00  KL 0.0100  ETA 18:54  2.32 s/step`, and before ETA the
 * share of completions that reached max_completion_length and of prompts that were cut, where there are any.
 * @param recentStepSeconds of the last steps, without the first, whose kernels had to be compiled; none: no ETA
 * @param room columns; what does not fit is left out, whole
 */
export function progressLine(
  row: MetricRow,
  maxSteps: number,
  recentStepSeconds: readonly number[],
  room = Infinity,
): string {
  const seconds = recentStepSeconds.reduce((sum, value) => sum + value, 0) / recentStepSeconds.length;
  const number = (label: string, name: MetricName, digits: number, width: number) => {
    const value = row[name];
    return value === undefined ? undefined : `${label} ${value.toFixed(digits).padStart(width)}`;
  };
  const share = (label: string, name: MetricName) => {
    const value = row[name] ?? 0;
    return value > 0 ? `${label} ${atLeastOnePercent(value)}%` : undefined;
  };
  const hasRate = Number.isFinite(seconds);
  const isLeft = hasRate && row.step < maxSteps;
  return fittingColumns([
    { rank: 0, text: stepOf(row.step, maxSteps) },
    { rank: 1, text: number("safe", "safety/safe_ratio", 2, 4) },
    { rank: 2, text: number("reward", "helpfulness/mean", 2, 5) },
    { rank: 3, text: number("cost", "cost/mean", 2, 5) },
    ...lambdaMetrics([row], "value", "lambda").map(([name, label]) => ({
      rank: 4,
      text: number(label.replace(", ", " "), name, 2, 4),
    })),
    { rank: 8, text: number("KL", "kl", 4, 6) },
    { rank: 5, text: share("clipped", "completions/clipped_ratio") },
    { rank: 6, text: share("cut prompts", "prompts/truncated_ratio") },
    { rank: 7, text: isLeft ? `ETA ${formatDuration((maxSteps - row.step) * seconds)}` : undefined },
    { rank: 9, text: hasRate ? rateText(seconds) : undefined },
  ], room);
}

/** Three digits of it, whichever is above 1: a step of minutes would be 0.00 steps/s. */
function rateText(secondsPerStep: number): string {
  if (secondsPerStep <= 1) return `${(1 / secondsPerStep).toFixed(2)} steps/s`;
  return `${secondsPerStep < 100 ? secondsPerStep.toPrecision(3) : Math.round(secondsPerStep)} s/step`;
}

/** What is not 0 is not shown as 0. */
function atLeastOnePercent(share: number): number {
  return Math.max(1, Math.round(100 * share));
}
