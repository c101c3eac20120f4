/** The lines of a run that makes several optimizer steps of each generation, and those of a long generation. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openTerminal, type TerminalConfig } from "../../src/cli/terminal/run_terminal.ts";
import { summaryText } from "../../src/cli/terminal/summary.ts";
import { stepRow } from "../../src/tracking/metrics.ts";
import { stepRecord } from "./step_record.ts";

const CONFIG: TerminalConfig = {
  logging_steps: 5,
  debug_print_first: true,
  debug_print_samples_per_batch: 0,
  debug_print_sample_chars: 200,
};

/** The lines of a log of rows of 8 s at these steps. */
function logOf(steps: number[], { firstStep = 1, maxSteps = 24, config = CONFIG } = {}): string[] {
  let text = "";
  const output = { isTTY: false, write: (part: string) => void (text += part) };
  const terminal = openTerminal(output, config, { firstStep, maxSteps });
  for (const step of steps) terminal.step(stepRow(stepRecord({ step, stepSeconds: 8 })));
  terminal.close();
  return text.trimEnd().split("\n");
}

const stepsOf = (lines: string[]) => lines.map((line) => Number(/^step +(\d+)\//.exec(line)?.[1]));

describe("with four steps of each generation", () => {
  it("a log has a line where a multiple of logging_steps lies among them, of the first and of the last", () => {
    // 5 is passed at 8, 10 at 12, 15 at 16, 20 at 20.
    assert.deepEqual(stepsOf(logOf([4, 8, 12, 16, 20, 24])), [4, 8, 12, 16, 20, 24]);
    const config = { ...CONFIG, logging_steps: 10 };
    assert.deepEqual(stepsOf(logOf([4, 8, 12, 16, 20, 24], { config })), [4, 12, 20, 24]);
  });

  it("the rate and the time left count steps, not generations, and leave out the first, which compiles", () => {
    const [first, second] = logOf([4, 8]);
    assert.doesNotMatch(first, /ETA|s\/step|steps\/s/);
    assert.match(second, /ETA 0:32 {2}2\.00 s\/step$/);
  });

  it("a run that goes on counts from where it goes on", () => {
    const [first, second] = logOf([12, 16], { firstStep: 9 });
    assert.match(first, /^step 12\/24 {2}safe /);
    assert.match(second, /^step 16\/24 .*ETA 0:16 /);
  });
});

it("a bar is not redrawn for a generation that is over in a moment", () => {
  let text = "";
  const output = { isTTY: true, columns: 160, write: (part: string) => void (text += part) };
  const terminal = openTerminal(output, CONFIG, { firstStep: 1, maxSteps: 9 });
  const progress = { tokens: 100, longest: 9, maxTokens: 64, rows: 4, rowsLeft: 2 };
  terminal.generating(0, { ...progress, seconds: 1.9 });
  terminal.close();
  assert.doesNotMatch(text, /generating/);
});

it("a bar takes the room that the line leaves, and none where that is little", () => {
  const blocksIn = (columns: number) => {
    let text = "";
    const output = { isTTY: true, columns, write: (part: string) => void (text += part) };
    const terminal = openTerminal(output, CONFIG, { firstStep: 1, maxSteps: 9 });
    terminal.close();
    return text.match(/[█░]+/)?.[0].length ?? 0;
  };
  // The line is "0/9".
  assert.deepEqual([10, 12, 13, 20, 80].map(blocksIn), [0, 0, 8, 15, 24]);
});

it("the time left follows the last ten steps: an evaluation or a slow start is forgotten", () => {
  let text = "";
  const output = { isTTY: false, write: (part: string) => void (text = part) };
  const terminal = openTerminal(output, { ...CONFIG, logging_steps: 1 }, { firstStep: 1, maxSteps: 31 });
  for (let step = 1; step <= 11; step++) {
    terminal.step(stepRow(stepRecord({ step, stepSeconds: step === 1 ? 1000 : 1 })));
  }
  assert.match(text, /^step 11\/31 .*ETA 0:20 {2}1\.00 steps\/s\n$/);
});

describe("the first completion of a run", () => {
  const TEXTS = { prompts: ["Why?"], completions: ["So."] };
  const printedOf = (config: Partial<TerminalConfig>, firstStep = 1) => {
    let text = "";
    const output = { isTTY: false, write: (part: string) => void (text += part) };
    openTerminal(output, { ...CONFIG, ...config }, { firstStep, maxSteps: 9 }).samples(TEXTS);
    return text;
  };

  it("is printed unless debug_print_first is false, or the run goes on from a later step", () => {
    assert.match(printedOf({}), /^first prompt and completion\n/);
    assert.equal(printedOf({ debug_print_first: false }), "");
    assert.equal(printedOf({}, 2), "");
  });
});

it("the summary shows memory above the plan with its sign, and paths as words of a shell", () => {
  const summary = summaryText({
    rows: [stepRow(stepRecord({}))],
    runDir: "out/a run",
    report: "out/a run/report.html",
    weights: null,
    steps: 1,
    trainingSeconds: 3600,
    peakBytes: 5 << 20,
    plannedBytes: 4 << 20,
  });
  assert.match(summary, /5 MiB at the most, 4 MiB planned \(\+25\.0 %\)/);
  assert.ok(summary.includes("tensorboard --logdir 'out/a run/runs'"));
  assert.match(summary, /^report +out\/a run\/report\.html$/m);
  assert.match(summary, /1:00:00 for 1 step$/m);
});
