/** What a person watching a run sees. All of it goes through `write`, so that it can be tested as text. */
import type { GenerationProgress } from "../../policy/decode/generate.ts";
import { isDue } from "../../rl/cadence.ts";
import type { Judgements, MetricRow } from "../../tracking/metrics.ts";
import type { Texts } from "../../tracking/samples.ts";
import { everyHalfMinute, generationLine } from "./generation_progress.ts";
import { firstStepWatch } from "./first_step.ts";
import type { TerminalOutput } from "./output.ts";
import { roomOf, startBar } from "./progress_bar.ts";
import { progressLine, stepOf } from "./progress_line.ts";
import { samplesText } from "./samples_text.ts";

/** The keys of the config that decide what is printed. */
export interface TerminalConfig {
  readonly logging_steps: number;
  readonly debug_print_first: boolean;
  readonly debug_print_samples_per_batch: number;
  readonly debug_print_sample_chars: number;
}

export interface Terminal {
  /**
   * A generation batch has been trained on: drawn into the bar, where there is one, and kept as a line every
   * `logging_steps` and at the first and last step.
   */
  step(row: MetricRow): void;
  /** Completions are being sampled after step `done`: shown in the bar, or as a line every half a minute. */
  generating(done: number, progress: GenerationProgress): void;
  /** Prints samples of the batch and their scores, as configured; of the first batch at least one. */
  samples(texts: Texts, scores?: Pick<Judgements, "rewards" | "costs">): void;
  /** Prints whole lines, above the bar if there is one. */
  print(text: string): void;
  /** Takes the bar away. Until then its timer keeps the process alive: call it in `finally`. */
  close(): void;
}

/** A generation has the bar's line when it takes longer: else it would flicker. */
const SHORT_SECONDS = 2;
/** Steps whose mean time gives the rate and the time left. */
const RATE_STEPS = 10;

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
  const prefix = bar === undefined ? "step " : "";
  const room = bar === undefined ? Infinity : roomOf(output);
  const isLineDue = everyHalfMinute();
  const recent: number[] = [];
  let lastStep = firstStep - 1;
  let isFirstPrinted = !config.debug_print_first || firstStep > 1;
  const compiling = firstStep > maxSteps ? undefined : firstStepWatch((text) => {
    const line = `${stepOf(firstStep, maxSteps)}  ${text}`;
    if (bar) bar.update(firstStep - 1, { line });
    else print(`${prefix}${line}`);
  }, { isTTY: output.isTTY });

  return {
    step(row) {
      compiling?.close();
      const done = row.step - lastStep;
      const isFirst = lastStep < firstStep;
      // The first compiles its kernels: no measure of those to come.
      if (!isFirst) recent.push((row.step_time ?? NaN) / done);
      if (recent.length > RATE_STEPS) recent.shift();
      const line = progressLine(row, maxSteps, recent, room);
      bar?.update(row.step, { line });
      const isKept = isFirst || row.step === maxSteps || isDue(config.logging_steps, row.step, done);
      lastStep = row.step;
      if (isKept) print(`${prefix}${line}`);
    },
    generating(done, progress) {
      if (progress.seconds >= SHORT_SECONDS) compiling?.close();
      const step = `${stepOf(done + 1, maxSteps)}  `;
      const line = step + generationLine(progress, room - step.length);
      if (progress.seconds >= SHORT_SECONDS) bar?.update(done, { line });
      if (bar === undefined && isLineDue(progress)) print(`${prefix}${line}`);
    },
    samples(texts, scores) {
      const perBatch = Math.min(config.debug_print_samples_per_batch, texts.completions.length);
      const isFirst = !isFirstPrinted;
      isFirstPrinted = true;
      if (perBatch === 0 && !isFirst) return;
      const title = perBatch === 0
        ? () => "first prompt and completion"
        : (i: number) => `sample ${i + 1} of ${perBatch}`;
      print(
        samplesText(texts, scores, {
          title,
          count: Math.max(1, perBatch),
          limit: config.debug_print_sample_chars,
        }),
      );
    },
    print,
    close() {
      compiling?.close();
      bar?.stop();
    },
  };
}
