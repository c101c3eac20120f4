import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bannerText } from "../../src/cli/terminal/banner.ts";
import { widthOf } from "../../src/cli/terminal/columns.ts";
import { progressLine } from "../../src/cli/terminal/progress_line.ts";
import { openTerminal, type TerminalConfig } from "../../src/cli/terminal/run_terminal.ts";
import { comparisonLine, summaryText } from "../../src/cli/terminal/summary.ts";
import { commandLine } from "../../src/config/command_line.ts";
import { formatDuration } from "../../src/config/units.ts";
import { stepRow } from "../../src/tracking/metrics.ts";
import { standardOutput, terminalText } from "../../src/cli/terminal/output.ts";
import { escapeControls } from "../../src/config/controls.ts";
import { escapeMarkdownCell, truncateText } from "../../src/tracking/printable.ts";
import { stepRecord } from "./step_record.ts";

const CONFIG: TerminalConfig = {
  logging_steps: 5,
  debug_print_first: true,
  debug_print_samples_per_batch: 0,
  debug_print_sample_chars: 200,
};
const STEPS = { firstStep: 1, maxSteps: 12 };
const TEXTS = { prompts: ["Why?", "Why?"], completions: ["Because\n\u001b[2Jof\u202e it.", "So."] };

function openFake(
  options: { isTTY: boolean; columns?: number },
  config: Partial<TerminalConfig> = {},
  steps = STEPS,
) {
  const written: string[] = [];
  const output = { ...options, write: (text: string) => void written.push(text) };
  const terminal = openTerminal(output, { ...CONFIG, ...config }, steps);
  return { terminal, text: () => written.join("") };
}

/** A column of a step's line. */
const WHOLE =
  /^(\d+\/\d+|(safe|reward|cost|lambda|KL) +-?\d+\.\d+|clipped \d+%|cut prompts \d+%|ETA [\d:]+|[\d.]+ s(teps)?\/s(tep)?)( +[\d.]+ s(teps)?\/s(tep)?)?$/;

const rowOf = (step: number) => ({ ...stepRow(stepRecord({ step })), "completions/clipped_ratio": 0 });

describe("openTerminal() without a TTY", () => {
  it("prints the first, every logging_steps-th and the last step, and no control codes", () => {
    const { terminal, text } = openFake({ isTTY: false });
    for (let step = 1; step <= 12; step++) terminal.step(rowOf(step));
    terminal.close();
    const steps = text().trimEnd().split("\n").map((line) => /^step +(\d+)\/12 /.exec(line)?.[1]);
    assert.deepEqual(steps, ["1", "5", "10", "12"]);
    assert.ok(!text().includes("\u001b"));
  });

  it("prints the scores of a sample, and a prompt that several share once", () => {
    const config = { debug_print_samples_per_batch: 2 };
    const { terminal, text } = openFake({ isTTY: false }, config);
    terminal.samples(TEXTS, { rewards: [1.234, -1], costs: [-0.5, 2] });
    const expected = "sample 1 of 2\n  prompt\n  | Why?\n  completion\n  | Because\n" +
      "  | \\u{1b}[2Jof\\u{202e} it.\n  reward 1.23  cost -0.50\n" +
      "sample 2 of 2\n  completion\n  | So.\n  reward -1.00  cost 2.00\n";
    assert.equal(text(), expected);
  });

  it("prints the first prompt and completion once, controls spelled out", () => {
    const { terminal, text } = openFake({ isTTY: false });
    terminal.samples(TEXTS);
    terminal.samples(TEXTS);
    const expected = "first prompt and completion\n  prompt\n  | Why?\n  completion\n  | Because\n" +
      "  | \\u{1b}[2Jof\\u{202e} it.\n";
    assert.equal(text(), expected);
  });

  it("prints debug_print_samples_per_batch samples of each batch, cut to debug_print_sample_chars", () => {
    const config = {
      debug_print_first: false,
      debug_print_samples_per_batch: 3,
      debug_print_sample_chars: 2,
    };
    const { terminal, text } = openFake({ isTTY: false }, config);
    terminal.samples(TEXTS);
    assert.match(text(), /sample 1 of 2\n.*Wh… \(\+2 characters\).*sample 2 of 2\n.*So… \(\+1 characters\)/s);
  });

  it("does not print a first completion that a run going on did not make first", () => {
    const { terminal, text } = openFake({ isTTY: false }, {}, { firstStep: 7, maxSteps: 12 });
    terminal.samples(TEXTS);
    assert.equal(text(), "");
  });
});

describe("openTerminal() with a TTY", () => {
  it("draws one bar with the step's numbers, and clears its line before it prints", () => {
    const { terminal, text } = openFake({ isTTY: true, columns: 120 });
    for (let step = 1; step <= 4; step++) terminal.step(rowOf(step));
    terminal.print("hello");
    terminal.close();
    assert.ok(text().includes("\r\u001b[Khello\n"));
    assert.match(text(), /█+░+ +4\/12 .*safe 0\.50 {2}reward {2}2\.50/);
  });

  it("keeps the lines above the bar that a log would have", () => {
    const { terminal, text } = openFake({ isTTY: true, columns: 120 });
    for (let step = 1; step <= 12; step++) terminal.step(rowOf(step));
    terminal.close();
    // deno-lint-ignore no-control-regex
    const kept = [...text().matchAll(/\r\u001b\[K *(\d+)\/12 {2}safe [^\u001b]*\n/g)].map(([, step]) => step);
    assert.deepEqual(kept, ["1", "5", "10", "12"]);
  });

  for (const columns of [40, 60, 80, 100, 120]) {
    it(`of ${columns} columns draws nothing wider, and no column in part`, () => {
      const { terminal, text } = openFake({ isTTY: true, columns }, {}, { firstStep: 1, maxSteps: 500 });
      for (let step = 1; step <= 3; step++) {
        terminal.generating(step, {
          tokens: 9999,
          longest: 96,
          maxTokens: 512,
          rows: 60,
          rowsLeft: 41,
          seconds: 3,
        });
        terminal.step({ ...rowOf(step), "completions/clipped_ratio": 0.25, "prompts/truncated_ratio": 0.5 });
      }
      terminal.close();
      // deno-lint-ignore no-control-regex
      for (const line of text().split(/\r|\n|\u001b\[\d*[GK]/)) {
        assert.ok(widthOf(line) < columns, `${widthOf(line)} columns: ${line}`);
        if (!/safe/.test(line)) continue;
        for (const column of line.replace(/^[█░]* */, "").trim().split(/ {2,}(?=[a-zKE])/)) {
          assert.match(column, WHOLE);
        }
      }
    });
  }

  it("never saves or hides the cursor, so that nothing is left to restore", () => {
    const { terminal, text } = openFake({ isTTY: true });
    terminal.step(rowOf(1));
    terminal.close();
    for (const code of ["\u001b7", "\u001b8", "\u001b[?25l", "\u001b[?7l"]) assert.ok(!text().includes(code));
  });
});

describe("while completions are sampled", () => {
  const at = (seconds: number) => ({
    tokens: 2000 * seconds,
    longest: 96,
    maxTokens: 512,
    rows: 60,
    rowsLeft: 41,
    seconds,
  });

  it("the bar shows token, completions left and tokens/s", () => {
    const { terminal, text } = openFake({ isTTY: true, columns: 160 });
    terminal.generating(3, at(2));
    terminal.close();
    assert.match(
      text(),
      / 4\/12 {2}generating {2}token {2}96\/512 {2}41 of 60 completions left {2}2000 tokens\/s/,
    );
  });

  it("the bar says so when all completions have ended", () => {
    const { terminal, text } = openFake({ isTTY: true, columns: 160 });
    terminal.generating(3, { ...at(2), rowsLeft: 0 });
    terminal.close();
    assert.match(text(), / 4\/12 {2}generated 4000 tokens {2}2000 tokens\/s {2}scoring and training/);
  });

  it("a log gets a line every half a minute of a generation, none of short ones", () => {
    const { terminal, text } = openFake({ isTTY: false });
    for (let seconds = 1; seconds <= 70; seconds++) terminal.generating(0, at(seconds));
    for (let seconds = 1; seconds <= 29; seconds++) terminal.generating(1, at(seconds));
    for (let seconds = 1; seconds <= 31; seconds += 10) terminal.generating(2, at(seconds));
    terminal.close();
    const steps = text().trimEnd().split("\n").map((line) =>
      /^step +(\d+)\/12 {2}generating /.exec(line)?.[1]
    );
    assert.deepEqual(steps, ["1", "1", "3"]);
  });
});

describe("progressLine()", () => {
  it("begins with the safe ratio, and gives the rate and the time left from the mean step time", () => {
    const line = progressLine(rowOf(2), 12, [1, 3]);
    assert.equal(
      line,
      " 2/12  safe 0.50  reward  2.50  cost  0.50  lambda 1.50  KL 0.0100  ETA 0:20  2.00 s/step",
    );
  });

  it("says how many steps a second, or how many seconds a step: never 0.00; and no ETA once nothing is left", () => {
    const end = (seconds: number, step = 2) => progressLine(rowOf(step), 12, [seconds]).split("  ").slice(-2);
    assert.deepEqual(end(0.25), ["ETA 0:03", "4.00 steps/s"]);
    assert.deepEqual(end(1), ["ETA 0:10", "1.00 steps/s"]);
    assert.deepEqual(end(435.4), ["ETA 1:12:34", "435 s/step"]);
    assert.deepEqual(end(2000, 12), ["KL 0.0100", "2000 s/step"]);
  });

  it("keeps everything up to lambda in 60 columns, and KL and ETA too in 80, of a run of 999 steps", () => {
    const shown = (room: number) => progressLine(rowOf(500), 999, [7], room).match(/[a-zA-Z]+(?= )/g);
    assert.deepEqual(shown(59), ["safe", "reward", "cost", "lambda"]);
    assert.deepEqual(shown(72), ["safe", "reward", "cost", "lambda", "ETA"]);
    assert.deepEqual(shown(79), ["safe", "reward", "cost", "lambda", "KL", "ETA"]);
  });

  it("leaves out what was not measured", () => {
    const row = stepRow(stepRecord({ kl: undefined }));
    assert.doesNotMatch(progressLine(row, 9, [1]), /KL|undefined|NaN/);
    assert.doesNotMatch(progressLine(row, 9, []), /ETA|steps|NaN/);
  });

  it("shows completions that were clipped and prompts that were cut where there are any, never as 0", () => {
    const row = (clipped: number, cut: number) => ({
      ...rowOf(1),
      "completions/clipped_ratio": clipped,
      "prompts/truncated_ratio": cut,
    });
    assert.doesNotMatch(progressLine(row(0, 0), 9, []), /clipped|cut/);
    assert.match(progressLine(row(0.252, 0), 9, []), /clipped 25%$/);
    assert.match(progressLine(row(0, 0.001), 9, []), /cut prompts 1%$/);
  });
});

it("bannerText() shows how the batch comes about", () => {
  const facts = {
    device: "Example GPU",
    modelName: "models/quickstart/policy",
    parameterCount: 1_234_567,
    trainedCount: 1_234_567,
    ends: [{ id: 2, token: "</s>" }, { id: 7, token: "" }],
    judges: "http://localhost:8000",
    runDir: "outputs/run",
    memory: ["planned 60 GiB of 80 GiB", "weights 13 GiB, generation 32 GiB"] as [string, string],
    perDeviceTrainBatchSize: 1,
    shape: {
      stepsPerGeneration: 15,
      completionsPerGeneration: 60,
      promptsPerGeneration: 2,
      updatesPerGeneration: 1,
    },
    promptFormat: "Beaver's",
    precision: "matmul_precision float16, kv_cache_dtype float16",
    worldSize: 4,
    numGenerations: 30,
    firstStep: 1,
    maxSteps: 500,
  };
  const banner = bannerText(facts);
  assert.match(
    banner,
    /1 completion x 15 accumulation steps x 4 devices = 60 completions = 2 prompts x 30 per step/,
  );
  assert.match(banner, /1\.23M parameters\)/);
  assert.match(banner, /^precision +matmul_precision float16, kv_cache_dtype float16$/m);
  assert.match(banner, /^ends at +2 "<\/s>", 7 ""$/m);
  assert.match(banner, /^scorer +http:\/\/localhost:8000$/m);
  assert.match(
    bannerText({ ...facts, trainedCount: 20_480 }),
    /1\.23M parameters, 20\.5K in adapters trained/,
  );
  const several = bannerText({ ...facts, shape: { ...facts.shape, updatesPerGeneration: 4 } });
  assert.match(several, /1 completion x 15 passes .* x 30 per generation, trained on in 4 steps/);
  const narrow = bannerText({ ...facts, shape: { ...facts.shape, stepsPerGeneration: 1 } }, 50).split("\n");
  const batch = narrow.findIndex((line) => line.startsWith("batch"));
  assert.deepEqual(narrow.slice(batch, batch + 3).map((line) => line.slice(12)), [
    "1 completion x 1 accumulation step",
    "x 4 devices = 60 completions",
    "= 2 prompts x 30 per step",
  ]);
  assert.ok(narrow.includes(`${" ".repeat(12)}weights 13 GiB, generation 32 GiB`), narrow.join("\n"));
});

it("summaryText() says how the run went and how to look at it", () => {
  const rows = [1, 2].map((step) =>
    stepRow(stepRecord({ step, costs: step === 1 ? [1, 1, 1, 1] : [0, 0, 0, 1] }))
  );
  const summary = summaryText({
    rows,
    runDir: "out/it's",
    trainingSeconds: 61,
    report: "out/it's/report.html",
    weights: { file: "model.safetensors", sha256: "abc" },
    steps: 2,
    peakBytes: 3 << 20,
    plannedBytes: 4 << 20,
  });
  assert.match(summary, /^safe ratio {3}0\.000 -> 0\.750/);
  assert.match(summary, /helpfulness {2}2\.500 -> 2\.500/);
  assert.match(summary, /1:01 for 2 steps/);
  assert.match(summary, /3 MiB at the most, 4 MiB planned \(-25\.0 %\)/);
  assert.ok(summary.includes(`tensorboard --logdir 'out/it'\\''s/runs'`));
  assert.equal(summary.match(/report/g)?.length, 2, "one line, of a label and a path");
  assert.match(summary, /^sha256 +abc\n +of model\.safetensors: the same for this seed/m);
  assert.doesNotMatch(summary, /eval/);
});

it("summaryText() of a run that was stopped says nothing of final weights", () => {
  const facts = { rows: [rowOf(1)], runDir: "out", report: "out/report.html", weights: null, steps: 1 };
  const summary = summaryText({ ...facts, trainingSeconds: 1, peakBytes: 1, plannedBytes: 1 });
  assert.doesNotMatch(summary, /sha256|null/);
  assert.match(summary, /for 1 step$/m);
});

it("bannerText() and summaryText() wrap at the terminal's width, but for words that are longer", () => {
  const report = `${"long/".repeat(20)}report.html`;
  const facts = { rows: [rowOf(1)], runDir: "out", report, weights: null, steps: 1 };
  const lines = summaryText({ ...facts, trainingSeconds: 1, peakBytes: 1, plannedBytes: 1 }, 40).split("\n");
  assert.ok(lines.some((line) => line.includes(report)));
  assert.deepEqual(lines.filter((line) => widthOf(line) > 40 && !line.includes(report)), []);
});

it("the runs of a sweep are compared by one command", () => {
  const command = commandLine(process.env, "report", "out/a", "'out/b c'");
  assert.equal(comparisonLine(["out/a", "out/b c"]), `Compare these runs: ${command}`);
});

it("formatDuration() counts hours from an hour on", () => {
  assert.deepEqual([0, 59.6, 3599, 3661].map(formatDuration), ["0:00", "1:00", "59:59", "1:01:01"]);
});

it("escapeControls() keeps text, tabs and newlines as they are", () => {
  assert.equal(escapeControls("naïve 日本 🙂\t\n"), "naïve 日本 🙂\t\n");
  assert.equal(escapeControls("\r\u0007\u009b\u2066"), "\\u{d}\\u{7}\\u{9b}\\u{2066}");
});

it("truncateText() never cuts a character in two", () => {
  assert.equal(truncateText("🙂🙂🙂", 2), "🙂🙂… (+1 characters)");
  assert.equal(truncateText("🙂🙂", 2), "🙂🙂");
});

it("escapeMarkdownCell() keeps a cell one cell of text", () => {
  assert.equal(escapeMarkdownCell("a|b\n<b>*"), "a\\|b<br>&lt;b&gt;\\*");
});

it("a text of others gets no control of the terminal, wherever it stands in what is written", () => {
  const hostile = "\u001b[2J\u001b]0;owned\u0007\r\u009b31m\u202ex";
  const spelled = "\\u{1b}[2J\\u{1b}]0;owned\\u{7}\\u{d}\\u{9b}31m\\u{202e}x";
  assert.equal(terminalText(`Skipped ${hostile}\n`), `Skipped ${spelled}\n`);
  assert.equal(terminalText(`${hostile}\n`), `${spelled}\n`);
  assert.equal(terminalText(`\r\u001b[K${hostile}`), `\r\u001b[K${spelled}`, "a line that is drawn anew");
  for (const drawn of ["\u001b[0K", "\u001b[1G", "\u001b[?7l"]) assert.equal(terminalText(drawn), drawn);
  const { write } = process.stdout;
  let written = "";
  process.stdout.write = ((text: string) => (written += text, true)) as typeof write;
  try {
    standardOutput({}).write(hostile);
  } finally {
    process.stdout.write = write;
  }
  assert.equal(written, spelled);
  assert.equal(terminalText("plain \u4e2d \u{1f600}\ttext\n"), "plain \u4e2d \u{1f600}\ttext\n");
});
