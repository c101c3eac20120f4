/** What a person watching a run sees. All of it goes through `write`, so that it can be tested as text. */
import { formatDuration } from "../../config/units.ts";
import type { GenerationProgress } from "../../policy/decode/generate.ts";
import { isDue } from "../../rl/cadence.ts";
import type { MetricName, MetricRow } from "../../tracking/metrics.ts";
import { escapeControls, truncateText } from "../../tracking/printable.ts";
import type { Texts } from "../../tracking/samples.ts";
import { everyHalfMinute, generationLine } from "./generation_progress.ts";
import type { TerminalOutput } from "./output.ts";
import { startBar } from "./progress_bar.ts";

/** The keys of the config that decide what is printed. */
export interface TerminalConfig {
  readonly logging_steps: number;
  readonly debug_print_first: boolean;
  readonly debug_print_samples_per_batch: number;
  readonly debug_print_sample_chars: number;
}

export interface Terminal {
  /**
   * A generation batch has been trained on. Draws the bar, or prints a line every `logging_steps` and at the first and
   * last step.
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
  { firstStep, maxSteps }: { firstStep: number; maxSteps: number },
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

function sampleText(title: string, { prompts, completions }: Texts, index: number, limit: number): string {
  const indented = (text: string) => escapeControls(truncateText(text, limit)).replace(/^/gm, "  | ");
  return `${title}\n  prompt\n${indented(prompts[index])}\n  completion\n${indented(completions[index])}`;
}
