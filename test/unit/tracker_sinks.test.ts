/** What sinks are told, and what becomes of a run when one of them fails. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { writeTextInFolder } from "../../src/io/files/atomic_files.ts";
import type { RunFacts, Sink, SinkCall } from "../../src/tracking/sink.ts";
import { sinksOf } from "../../src/tracking/sinks.ts";
import { openTracker, type TrackerConfig, type TrackerState } from "../../src/tracking/tracker.ts";
import { contentsOf } from "../e2e/folder_contents.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { stepRecord } from "./step_record.ts";

const CONFIG: TrackerConfig = {
  hist_every: 2,
  scatter_every: 2,
  scatter_max_points: 100,
  debug_log_every: 2,
  debug_log_n_samples: 2,
  eval_table_n_samples: 3,
};
const TEXTS = { prompts: ["p", "p", "p", "p"], completions: ["a", "b", "c", "d"] };
const SAMPLED = TEXTS.completions.map((_, i) => ({
  prompt_ids: [1],
  completion_ids: [i],
  logprobs: [-1],
  ref_logprobs: null,
  end: "eos" as const,
  lambda: 1,
}));
const CALLS: readonly SinkCall[] = [
  "start",
  "step",
  "evaluation",
  "completions",
  "histogram",
  "table",
  "scatter",
  "finish",
  "close",
];

/** A sink whose every method is `call`. */
const sinkOf = (isRecord: boolean, call: (name: SinkCall, ...details: unknown[]) => void): Sink => ({
  name: "the sink",
  isRecord,
  ...Object.fromEntries(CALLS.map((name) => [name, (...details: unknown[]) => call(name, ...details)])),
});

interface Logged {
  messages: string[];
  state: TrackerState;
}

/** A run of three steps and an evaluation, with a sink before all others. */
async function logRun(runDir: string, ahead: Sink[]): Promise<Logged> {
  const messages: string[] = [];
  const lines: string[] = [];
  const tracker = await openTracker({
    runDir,
    config: CONFIG,
    sinks: [...ahead, ...sinksOf((row) => void lines.push(`${JSON.stringify(row)}\n`), writeTextInFolder)],
    onMessage: (text) => messages.push(text),
    now: () => 1700000000,
  });
  try {
    for (const step of [1, 2, 3]) await tracker.logStep(stepRecord({ step }), TEXTS, SAMPLED);
    await tracker.logEval({ ...stepRecord({}), step: 3, lambdas: [{ name: null, value: 1 }] }, TEXTS);
    await tracker.finish(3);
  } finally {
    await tracker.close();
    await writeFile(join(runDir, "metrics.jsonl"), lines.join(""));
  }
  return { messages, state: tracker.state() };
}

describe("a sink", () => {
  it("is told of the run, its rows, tables and plots, its end, and that it is closed, in this order", () =>
    withScratchFolder(async (dir) => {
      const told: [SinkCall, unknown[]][] = [];
      await logRun(dir, [sinkOf(false, (name, ...details) => told.push([name, details]))]);
      assert.deepEqual(told.map(([name]) => name), [
        "start",
        ...["step", "completions"],
        ...["step", "completions", "histogram", "histogram", "table", "scatter"],
        ...["step", "completions"],
        ...["table", "scatter", "evaluation"],
        ...["scatter", "finish", "close"],
      ]);
      const { now, gpuBytes: _gpuBytes, onMessage: _onMessage, ...facts } = told[0][1][0] as RunFacts;
      assert.deepEqual(facts, { runDir: dir, config: CONFIG, firstStep: 0, rowsBefore: [], promptCount: 0 });
      assert.equal(now(), 1700000000);
    }));

  for (const failing of [CALLS, ...CALLS.map((name) => [name])]) {
    it(`that fails in ${failing.join(", ")} is named once and closed, and costs the others no byte`, () =>
      withScratchFolder(async (whole) =>
        await withScratchFolder(async (dir) => {
          await logRun(whole, []);
          const told: SinkCall[] = [];
          const broken = sinkOf(false, (name) => {
            told.push(name);
            if (failing.includes(name)) throw new Error("no network");
          });
          const { messages } = await logRun(dir, [broken]);
          assert.equal(messages.length, 1);
          assert.match(
            messages[0],
            /^the sink gets no more of this run: .* failed \(no network\); training goes on/,
          );
          const failed = told.findIndex((name) => failing.includes(name));
          assert.deepEqual(told.slice(failed + 1), told[failed] === "close" ? [] : ["close"]);
          assert.deepEqual(contentsOf(dir), contentsOf(whole));
        })
      ));
  }

  it("that fails later than it was called is no other", () =>
    withScratchFolder(async (dir) => {
      const late: Sink = {
        name: "the sink",
        isRecord: false,
        step: () => Promise.reject(new Error("no network")),
      };
      assert.equal((await logRun(dir, [late])).messages.length, 1);
    }));

  it("that is the run's own record ends the run with its error", () =>
    withScratchFolder(async (dir) => {
      const record = sinkOf(true, (name) => {
        if (name === "table") throw new Error("the disk is full");
      });
      await assert.rejects(logRun(dir, [record]), { message: "the disk is full" });
    }));
});

it("metrics.jsonl, samples/ and rollouts/ are the run's own records; TensorBoard is not, and its folder may be missing", () =>
  withScratchFolder(async (dir) => {
    const sinks = sinksOf(() => {}, writeTextInFolder);
    assert.deepEqual(sinks.map(({ name, isRecord }) => [name, isRecord]), [
      ["metrics.jsonl", true],
      ["samples/", true],
      ["rollouts/", true],
      ["TensorBoard", false],
    ]);
    await writeFile(join(dir, "runs"), "");
    const { messages } = await logRun(dir, []);
    assert.equal(messages.length, 1);
    assert.match(messages[0], /^TensorBoard gets no more of this run: opening it failed \(EEXIST/);
  }));
