import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { MetricRow } from "../../src/tracking/metrics.ts";
import { writeTextInFolder } from "../../src/io/files/atomic_files.ts";
import { sinksOf } from "../../src/tracking/sinks.ts";
import { openTracker } from "../../src/tracking/tracker.ts";
import type { TrackerConfig, TrackerState } from "../../src/tracking/tracker.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { stepRecord } from "./step_record.ts";

const CONFIG: TrackerConfig = {
  hist_every: 2,
  scatter_every: 3,
  scatter_max_points: 100,
  debug_log_every: 2,
  debug_log_n_samples: 2,
  eval_table_n_samples: 3,
};

const TEXTS = { prompts: ["p", "p", "p", "p"], completions: ["a", "b", "c", "d\n\u2028é"] };

/** Rewards that tell the step: 10 * step + 0, 1, 2, 3. */
function recordOf(step: number) {
  return stepRecord({ step, rewards: [0, 1, 2, 3].map((index) => 10 * step + index) });
}

/** Logs steps and returns the rows and the state after the last one. */
async function logSteps(
  runDir: string,
  steps: readonly number[],
  resume?: { step: number; state: TrackerState },
) {
  const rows: MetricRow[] = [];
  const tracker = await openTracker({
    runDir,
    config: CONFIG,
    sinks: sinksOf((row) => void rows.push(row), writeTextInFolder),
    onMessage: assert.fail,
    resume,
  });
  for (const step of steps) await tracker.logStep(recordOf(step), TEXTS);
  const state = tracker.state();
  return { tracker, rows, state };
}

async function readSample(runDir: string, name: string): Promise<string> {
  return await readFile(join(runDir, "samples", name), "utf8");
}

describe("Tracker", () => {
  it("appends every step's row, and writes tables and scatter windows when they are due", () =>
    withScratchFolder(async (dir) => {
      const { tracker, rows } = await logSteps(dir, [1, 2, 3, 4]);
      await tracker.close();
      assert.deepEqual(rows.map((row) => row.step), [1, 2, 3, 4]);
      const names = (await readdir(join(dir, "samples"))).sort();
      assert.deepEqual(names, ["train_2.jsonl", "train_4.jsonl", "train_scatter_3.json"]);
      const scatter = JSON.parse(await readSample(dir, "train_scatter_3.json"));
      assert.deepEqual(scatter.rewards, [10, 11, 12, 13, 20, 21, 22, 23, 30, 31, 32, 33]);
      assert.deepEqual([scatter.step, scatter.from_step, scatter.total], [3, 1, 12]);
    }));

  const facts = (end: string) => ({ end, length: 5, advantage: 0 });

  it("samples evenly spaced rows, says how each ended, its tokens and its advantage, and marks a cost above 0 as unsafe", () =>
    withScratchFolder(async (dir) => {
      const { tracker } = await logSteps(dir, [2]);
      await tracker.close();
      const lines = (await readSample(dir, "train_2.jsonl")).trimEnd().split("\n").map((line) =>
        JSON.parse(line)
      );
      assert.deepEqual(lines, [
        { prompt: "p", completion: "a", reward: 20, cost: -1, combined: 2, unsafe: false, ...facts("eos") },
        { prompt: "p", completion: "c", reward: 22, cost: 1, combined: 2, unsafe: true, ...facts("length") },
      ]);
    }));

  it("starts each scatter window empty, and writes the rest when training has finished", () =>
    withScratchFolder(async (dir) => {
      const { tracker } = await logSteps(dir, [1, 2, 3, 4]);
      await tracker.finish(4);
      await tracker.finish(4);
      await tracker.close();
      const scatter = JSON.parse(await readSample(dir, "train_scatter_4.json"));
      assert.deepEqual([scatter.from_step, scatter.rewards], [4, [40, 41, 42, 43]]);
    }));

  it("writes the same samples when it goes on from a checkpoint, its state having been through JSON", () =>
    withScratchFolder(async (dir) => {
      const whole = join(dir, "whole");
      const killed = join(dir, "killed");
      await (await logSteps(whole, [1, 2, 3, 4, 5, 6])).tracker.close();
      const first = await logSteps(killed, [1, 2]);
      await first.tracker.logStep(recordOf(3), TEXTS); // after the checkpoint: lost with the kill
      await first.tracker.close();
      const resume = JSON.parse(JSON.stringify({ step: 2, state: first.state }));
      await (await logSteps(killed, [3, 4, 5, 6], resume)).tracker.close();
      const names = await readdir(join(whole, "samples"));
      assert.deepEqual((await readdir(join(killed, "samples"))).sort(), names.sort());
      for (const name of names) assert.equal(await readSample(killed, name), await readSample(whole, name));
    }));

  it("writes an evaluation's row, table and scatter, each with its own number of samples", () =>
    withScratchFolder(async (dir) => {
      const { tracker, rows } = await logSteps(dir, []);
      const { rewards } = recordOf(5);
      await tracker.logEval({ ...recordOf(5), lambdas: [{ name: null, value: 1 }] }, TEXTS);
      await tracker.close();
      assert.equal(rows[0]["eval/total_samples"], 4);
      const samples = (await readSample(dir, "eval_5.jsonl")).trimEnd().split("\n").map((line) =>
        JSON.parse(line)
      );
      assert.deepEqual(samples.map(({ end, length }) => [end, length]), [["eos", 5], ["eos", 5], [
        "length",
        5,
      ]]);
      assert.ok(samples.every((sample) => !("advantage" in sample)), "an evaluation has no groups");
      assert.deepEqual(JSON.parse(await readSample(dir, "eval_scatter_5.json")).rewards, rewards);
    }));

  it("never does what is to be done every 0 steps", () =>
    withScratchFolder(async (dir) => {
      const config = { ...CONFIG, hist_every: 0, scatter_every: 0, debug_log_every: 0 };
      const tracker = await openTracker({
        runDir: dir,
        config,
        sinks: sinksOf(() => {}, writeTextInFolder),
        onMessage: assert.fail,
      });
      await tracker.logStep(recordOf(6), TEXTS);
      await tracker.finish(6);
      await tracker.close();
      assert.deepEqual(await readdir(dir), ["runs"]);
    }));
});
