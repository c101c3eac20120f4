/** What a run says of itself before its first step and after its last. */
import type { PlannedMemory } from "../../assembly/memory.ts";
import type { RunFacts } from "../../assembly/run.ts";
import type { BatchShape } from "../../config/batch.ts";
import { formatBytes, formatDuration } from "../../config/units.ts";
import type { MetricName, MetricRow } from "../../tracking/metrics.ts";
import { escapeControls } from "../../tracking/printable.ts";
import { trendOf } from "../../tracking/trend.ts";

/** What a run says about itself before its first step. */
export interface BannerFacts extends Omit<RunFacts, "memory"> {
  modelName: string;
  /** The GPU memory that is planned, and its parts. */
  memory: [total: string, parts: string];
  perDeviceTrainBatchSize: number;
  shape: BatchShape;
  numGenerations: number;
  firstStep: number;
  maxSteps: number;
}

/** What a run leaves behind. */
export interface SummaryFacts {
  rows: readonly MetricRow[];
  runDir: string;
  trainingSeconds: number;
  /** Of GPU memory, at the most. */
  peakBytes: number;
  plannedBytes: number;
}

/** The run in a few lines before it starts: on what, which model, and how a batch is made up. */
export function bannerText(facts: BannerFacts): string {
  const { perDeviceTrainBatchSize: perDevice, shape, worldSize } = facts;
  const updates = shape.updatesPerGeneration;
  const isOne = updates === 1;
  const trained = facts.trainedCount === facts.parameterCount
    ? ""
    : `, ${formatCount(facts.trainedCount)} in adapters trained`;
  const devices = worldSize === 1 ? "" : ` x ${worldSize} devices`;
  const start = facts.firstStep > 1
    ? `${facts.firstStep} to ${facts.maxSteps} (resumed)`
    : `${facts.maxSteps}`;
  return block([
    ["device", facts.device],
    ["model", `${facts.modelName}  (${formatCount(facts.parameterCount)} parameters${trained})`],
    [
      "batch",
      `${perDevice} completions x ${shape.stepsPerGeneration} ` +
      `${isOne ? "accumulation steps" : "passes"}${devices} ` +
      `= ${shape.completionsPerGeneration} completions ` +
      `= ${shape.promptsPerGeneration} prompts x ${facts.numGenerations} per ` +
      (isOne ? "step" : `generation, trained on in ${updates} steps`),
    ],
    ["steps", start],
    ["GPU memory", facts.memory[0]],
    ["", facts.memory[1]],
    ["run", facts.runDir],
  ]);
}

/** The plan in two lines: "planned 1.2 GiB of 22 GiB", and by part. */
export function memoryLines({ plan, budget }: PlannedMemory, perDeviceBatchSize: number): [string, string] {
  const of = budget ? ` of ${formatBytes(budget.bytes)} (${budget.source})` : "";
  const split = plan.rowsPerPass === perDeviceBatchSize
    ? ""
    : `, with ${plan.rowsPerPass} of ${perDeviceBatchSize} completions trained on at a time`;
  const parts = plan.parts.map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`).join(", ");
  return [`planned ${formatBytes(plan.peakBytes)}${of}${split}`, parts];
}

/** The run in a few lines after it ended: what changed, where the files are, and how to look at them. */
export function summaryText(facts: SummaryFacts): string {
  const { rows, runDir, trainingSeconds, peakBytes, plannedBytes } = facts;
  const change = (name: MetricName, digits: number): string | undefined => {
    const trend = trendOf(rows, name);
    if (trend === undefined) return undefined;
    const [first, last, lastMean] = [trend.first, trend.last, trend.lastMean].map((value) =>
      value.toFixed(digits)
    );
    return `${first} -> ${last}  (mean of the last steps ${lastMean})`;
  };
  const entries: [string, string | undefined][] = [
    ["safe ratio", change("safety/safe_ratio", 3)],
    ["helpfulness", change("helpfulness/mean", 3)],
    ["lambda", change("lambda/value", 3)],
    ["eval safe", change("eval/safe_ratio", 3)],
    ["time", `${formatDuration(trainingSeconds)} for ${rows.length} steps`],
    ["GPU memory", memoryText(peakBytes, plannedBytes)],
    ["files", runDir],
    ["report", `npm run report -- ${shellWord(runDir)}   (deno task report ${shellWord(runDir)})`],
    ["TensorBoard", `tensorboard --logdir ${shellWord(`${runDir}/runs`)}`],
  ];
  return block(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

function formatCount(count: number): string {
  for (const [unit, size] of [["B", 1e9], ["M", 1e6], ["K", 1e3]] as const) {
    if (count >= size) return `${(count / size).toPrecision(3)}${unit}`;
  }
  return String(count);
}

function block(entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(...entries.map(([label]) => label.length));
  return entries.map(([label, value]) => `${label.padEnd(width)}  ${escapeControls(value)}`).join("\n");
}

function memoryText(peakBytes: number, plannedBytes: number): string {
  const percent = (100 * (peakBytes / plannedBytes - 1)).toFixed(1);
  const difference = `${percent.startsWith("-") ? "" : "+"}${percent} %`;
  return `${formatBytes(peakBytes)} at the most, ${formatBytes(plannedBytes)} planned (${difference})`;
}

function shellWord(text: string): string {
  return /^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
