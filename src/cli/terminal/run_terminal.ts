/** What a person watching a run sees. All of it goes through `write`, so that it can be tested as text. */
import type { BatchShape } from "../../config/batch.ts";
import type { GenerationProgress } from "../../policy/decode/generate.ts";
import { isDue } from "../../rl/cadence.ts";
import { formatBytes } from "../doctor/diagnosis.ts";
import type { MetricName, MetricRow } from "../../tracking/metrics.ts";
import { escapeControls, truncateText } from "../../tracking/printable.ts";
import type { Texts } from "../../tracking/samples.ts";
import { trendOf } from "../../tracking/trend.ts";
import { everyHalfMinute, generationLine } from "./generation_progress.ts";
import { startBar } from "./progress_bar.ts";

/** Where text goes: usually standard output. */
export interface TerminalOutput {
  write: (text: string) => void;
  isTTY: boolean;
  /** Width in characters; 80 when left out. */
  columns?: number;
}

/** The keys of the config that decide what is printed. */
export interface TerminalConfig {
  readonly logging_steps: number;
  readonly debug_print_first: boolean;
  readonly debug_print_samples_per_batch: number;
  readonly debug_print_sample_chars: number;
}

/** What a run says about itself before its first step. */
export interface BannerFacts {
  device: string;
  modelName: string;
  parameterCount: number;
  /** Parameters that are trained: all of them, or those of adapters beside them. */
  trainedCount: number;
  runDir: string;
  /** The GPU memory that is planned, and its parts. */
  memory: [total: string, parts: string];
  perDeviceTrainBatchSize: number;
  shape: BatchShape;
  worldSize: number;
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

export interface Terminal {
  /**
   * A generation batch has been trained on. Draws the bar, or prints a line every `logging_steps` and at the first and last
   * step.
   */
  step(row: MetricRow): void;
  /** Completions are being sampled after step `done`: shown in the bar, or as a line every half a minute. */
  generating(done: number, progress: GenerationProgress): void;
  /** Prints the first prompt and completion once per run, and then this batch's samples, as configured. */
  samples(texts: Texts): void;
  /** Prints whole lines, above the bar if there is one. */
  print(text: string): void;
  /** Takes the bar away. Until then its timer keeps the process alive: call it in `finally`. */
  close(): void;
}

/** Opens the terminal of a run that does the steps from `firstStep` to `maxSteps`. */
export function openTerminal(
  output: TerminalOutput,
  config: TerminalConfig,
  { firstStep, maxSteps }: Pick<BannerFacts, "firstStep" | "maxSteps">,
): Terminal {
  const bar = output.isTTY ? startBar(output, firstStep - 1, maxSteps) : undefined;
  // On a terminal the bar is on the current line: clear it, and the next redraw puts it below what is
  // printed.
  const print = (text: string) => output.write(`${bar === undefined ? "" : "\r\x1b[K"}${text}\n`);
  const isLineDue = everyHalfMinute();
  const recent: number[] = [];
  let lastStep = firstStep - 1;
  let isFirstPrinted = !config.debug_print_first || firstStep > 1;

  return {
    step(row) {
      const done = row.step - lastStep;
      recent.push((row.step_time ?? NaN) / done);
      if (recent.length > RATE_STEPS) recent.shift();
      const line = progressLine(row, maxSteps, recent);
      bar?.update(row.step, { line });
      const isPrinted = lastStep < firstStep || row.step === maxSteps ||
        isDue(config.logging_steps, row.step, done);
      lastStep = row.step;
      if (bar === undefined && isPrinted) print(`step ${line}`);
    },
    generating(done, progress) {
      const line = `${stepOf(done + 1, maxSteps)}  ${generationLine(progress)}`;
      if (progress.seconds >= SHORT_SECONDS) bar?.update(done, { line });
      if (bar === undefined && isLineDue(progress)) print(`step ${line}`);
    },
    samples(texts) {
      const limit = config.debug_print_sample_chars;
      if (!isFirstPrinted) print(sampleText("first prompt and completion", texts, 0, limit));
      isFirstPrinted = true;
      const count = Math.min(config.debug_print_samples_per_batch, texts.completions.length);
      for (let index = 0; index < count; index++) {
        print(sampleText(`sample ${index + 1} of ${count}`, texts, index, limit));
      }
    },
    print,
    close: () => bar?.stop(),
  };
}

/** A generation has the bar's line when it takes longer: else it would flicker. */
const SHORT_SECONDS = 2;
/** Steps whose mean time gives the rate and the time left. */
const RATE_STEPS = 10;

const stepOf = (step: number, maxSteps: number) =>
  `${String(step).padStart(String(maxSteps).length)}/${maxSteps}`;

/**
 * One step in one line of fixed columns: ` 12/500  ETA 18:54  reward -0.28  cost  1.55  ...  0.43 steps/s`.
 * What matters most comes first, since a narrow terminal cuts the line.
 */
export function progressLine(row: MetricRow, maxSteps: number, recentStepSeconds: readonly number[]): string {
  const seconds = recentStepSeconds.reduce((sum, value) => sum + value, 0) / recentStepSeconds.length;
  const column = (label: string, name: MetricName, digits: number, width: number) => {
    const value = row[name];
    return value === undefined ? undefined : `${label} ${value.toFixed(digits).padStart(width)}`;
  };
  const columns = [
    stepOf(row.step, maxSteps),
    Number.isFinite(seconds)
      ? `ETA ${formatDuration((maxSteps - row.step) * seconds).padStart(5)}`
      : undefined,
    column("reward", "helpfulness/mean", 2, 5),
    column("cost", "cost/mean", 2, 5),
    column("lambda", "lambda/value", 2, 4),
    column("safe", "safety/safe_ratio", 2, 4),
    column("KL", "kl", 4, 6),
    Number.isFinite(seconds) ? `${(1 / seconds).toFixed(2)} steps/s` : undefined,
  ];
  return columns.filter((text) => text !== undefined).join("  ");
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
      `${perDevice} completions x ${shape.stepsPerGeneration} ${
        isOne ? "accumulation steps" : "passes"
      }${devices} ` +
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

/** Seconds as `m:ss`, or `h:mm:ss` from an hour on. */
export function formatDuration(seconds: number): string {
  const total = Math.round(seconds);
  const minutes = Math.floor(total / 60);
  const rest = String(total % 60).padStart(2, "0");
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
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

function sampleText(title: string, { prompts, completions }: Texts, index: number, limit: number): string {
  const indented = (text: string) => escapeControls(truncateText(text, limit)).replace(/^/gm, "  | ");
  return `${title}\n  prompt\n${indented(prompts[index])}\n  completion\n${indented(completions[index])}`;
}

function shellWord(text: string): string {
  return /^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
