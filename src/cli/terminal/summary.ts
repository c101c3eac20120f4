/** What a run says of itself after its last step. */
import { commandLine, shellWord } from "../../config/command_line.ts";
import { formatBytes, formatDuration } from "../../config/units.ts";
import { type BestState, bestText } from "../../rl/best_metric.ts";
import { lambdaMetrics } from "../../tracking/cost_names.ts";
import type { MetricName, MetricRow } from "../../tracking/metrics.ts";
import { escapeControls } from "../../config/controls.ts";
import { trendOf } from "../../tracking/trend.ts";
import { labelled } from "./columns.ts";

/** What a run leaves behind. */
export interface SummaryFacts {
  rows: readonly MetricRow[];
  runDir: string;
  /** The page that shows it. */
  report: string;
  /** The final weights; null where the run has not come to its end. */
  weights: { file: string; sha256: string } | null;
  /** Optimizer steps that this process did, and how long they took. */
  steps: number;
  trainingSeconds: number;
  /** Of GPU memory, at the most. */
  peakBytes: number;
  plannedBytes: number;
  /** The best evaluation, where one is asked for. */
  best?: BestState | null;
}

/**
 * The run in a few lines after it ended: what changed, where the files are, and how to look at them.
 * @param columns of the terminal; left out, no line is wrapped
 */
export function summaryText(facts: SummaryFacts, columns?: number): string {
  const { rows, runDir, weights, trainingSeconds, peakBytes, plannedBytes } = facts;
  const change = (name: MetricName, digits: number): string | undefined => {
    const trend = trendOf(rows, name);
    if (trend === undefined) return undefined;
    const [first, last, lastMean] = [trend.first, trend.last, trend.lastMean].map((value) =>
      value.toFixed(digits)
    );
    return `${first} -> ${last}  (mean of the last steps ${lastMean})`;
  };
  const entries: [string, string | null | undefined][] = [
    ["safe ratio", change("safety/safe_ratio", 3)],
    ["helpfulness", change("helpfulness/mean", 3)],
    ...lambdaMetrics(rows, "value", "lambda").map(([name, label]): [string, string | undefined] => [
      label.replace(", ", " "),
      change(name, 3),
    ]),
    ["eval safe", change("eval/safe_ratio", 3)],
    ["best", facts.best && bestText(facts.best)],
    ["time", `${formatDuration(trainingSeconds)} for ${facts.steps} ${facts.steps === 1 ? "step" : "steps"}`],
    ["GPU memory", memoryText(peakBytes, plannedBytes)],
    ["files", runDir],
    ["report", facts.report],
    ["TensorBoard", `tensorboard --logdir ${shellWord(`${runDir}/runs`)}`],
    // The order of every sum is fixed; what another kind of device rounds in another way shows.
    ["sha256", weights?.sha256],
    ["", weights && `of ${weights.file}: the same for this seed and these settings on this kind of device`],
  ];
  const shown = entries.filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return labelled(shown.map(([label, text]) => [label, escapeControls(text)]), columns);
}

/** How to compare the runs of a sweep. */
export function comparisonLine(runDirs: readonly string[]): string {
  return `Compare these runs: ${commandLine(process.env, "report", ...runDirs.map(shellWord))}`;
}

function memoryText(peakBytes: number, plannedBytes: number): string {
  const percent = (100 * (peakBytes / plannedBytes - 1)).toFixed(1);
  const difference = `${percent.startsWith("-") ? "" : "+"}${percent} %`;
  return `${formatBytes(peakBytes)} at the most, ${formatBytes(plannedBytes)} planned (${difference})`;
}
