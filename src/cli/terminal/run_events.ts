/** A run on the terminal, from its first download to its last step. */
import type { AssemblyEvents } from "../../assembly/events.ts";
import type { RunConfig } from "../../config/sweep.ts";
import type { MetricRow } from "../../tracking/metrics.ts";
import type { TrainingEvents } from "../../train/run.ts";
import { assemblyEvents } from "./assembly_events.ts";
import { fittingColumns, wrapLines } from "./columns.ts";
import type { TerminalOutput } from "./output.ts";
import { roomOf } from "./progress_bar.ts";
import { openTerminal, type Terminal } from "./run_terminal.ts";

/** What a run shows, before and after its terminal is open. */
export interface RunEvents {
  assembly: AssemblyEvents;
  /** @param banner what is printed before the first step, once that is known */
  training(banner: (firstStep: number, maxSteps: number) => string): TrainingEvents;
  close(): void;
}

/** Shows a run on the terminal, which is opened once the first step is known. */
export function runEvents(output: TerminalOutput, config: RunConfig): RunEvents {
  let terminal: Terminal | null = null;
  const onMessage = (text: string) => {
    const lines = wrapLines(text, output.columns);
    if (terminal) terminal.print(lines);
    else output.write(`${lines}\n`);
  };
  return {
    assembly: { ...assemblyEvents(output), onMessage },
    training: (banner) => ({
      onStart(firstStep, maxSteps) {
        output.write(`${banner(firstStep, maxSteps)}\n`);
        terminal = openTerminal(output, config, { firstStep, maxSteps });
      },
      onGenerating: (step, progress) => terminal?.generating(step, progress),
      onStep(row, texts, scores) {
        terminal?.samples(texts, scores);
        terminal?.step(row);
      },
      onEvaluation: (row) => terminal?.print(evaluationLine(row, output.isTTY ? roomOf(output) : Infinity)),
      onMessage,
    }),
    close: () => terminal?.close(),
  };
}

/** What an evaluation came to, in one line. */
function evaluationLine(row: MetricRow, room = Infinity): string {
  const of = (name: keyof MetricRow) => (row[name] ?? NaN).toFixed(3);
  return fittingColumns([
    { rank: 0, text: `eval after step ${row.step}` },
    { rank: 1, text: `safe ${of("eval/safe_ratio")}` },
    { rank: 2, text: `reward ${of("eval/mean_reward")}` },
    { rank: 3, text: `cost ${of("eval/mean_cost")}` },
    { rank: 4, text: `(${row["eval/total_samples"]} prompts)` },
  ], room);
}
