/** Runs that fail: what they say, what they save, and what they must not save. */
import assert from "node:assert/strict";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import {
  assertSameRun,
  checkpointsIn,
  evaluation,
  finalWeightsIn,
  rowsIn,
  stepsOf,
  textScores,
  tinyRun,
  type TinyRunOptions,
} from "./tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

type Score = NonNullable<TinyRunOptions["score"]>;

/** Scores by text, but for one request: rewards of this size, of either sign. */
const rewardsOf = (size: number, at: number): Score => (request, completions) => {
  const scores = textScores(completions);
  if (request !== at) return scores;
  return { ...scores, rewards: completions.map((_, i) => i % 2 === 0 ? size : -size) };
};

/** Scores by text, until the scorer is gone. */
const goneAt = (at: number): Score => (request, completions) => {
  if (request >= at) throw new Error("the scorer is gone");
  return textScores(completions);
};

const NOTHING_SAVED = (step: number) =>
  `No checkpoint of step ${step}: the update after it had begun; the same command goes on from the checkpoint before`;

describe("a run that diverges", () => {
  // f32 ends at 3.4e38. Rewards beyond it make advantages, and with them the loss, NaN. Rewards of 1e28 leave the loss
  // finite, and only the squares of the gradient, which its norm sums, are beyond it.
  const KINDS: [string, number, RegExp][] = [
    ["the loss", 1e39, /the loss is NaN/],
    ["the gradient norm", 1e28, /the gradient norm is Infinity/],
  ];
  for (const [what, size, found] of KINDS) {
    it(`by ${what} ends with the documented line, and saves nothing of the update`, () =>
      withScratchFolder(async (dir) => {
        const settings = { save_steps: 2, scale_rewards: "none" as const };
        const whole = join(dir, "whole"), diverged = join(dir, "diverged");
        await tinyRun(whole, { settings });
        const run = await tinyRun(diverged, { settings, score: rewardsOf(size, 4), evaluate: evaluation });
        assert.match(run.error!.message, /^Training diverged at step 4: /);
        assert.match(run.error!.message, found);
        assert.match(
          run.error!.message,
          /the last checkpoint is good\. Set a smaller learning_rate or max_grad_norm$/,
        );
        assert.deepEqual(run.messages, [NOTHING_SAVED(3)]);
        assert.deepEqual(stepsOf(run.events), [1, 2, 3]);
        assert.deepEqual(rowsIn(diverged).map(({ step }) => step), [1, 2, 3]);
        assert.deepEqual([checkpointsIn(diverged), finalWeightsIn(diverged)], [[2], []]);
        const rest = await tinyRun(diverged, { settings });
        assert.deepEqual(stepsOf(rest.events), [3, 4]);
        assertSameRun(diverged, whole);
      }));
  }

  it("in the first of several optimizer steps of a generation batch names that step, and saves nothing", () =>
    withScratchFolder(async (dir) => {
      const settings = { steps_per_generation: 2, num_iterations: 2, max_steps: 12, save_steps: 0 };
      const run = await tinyRun(dir, { settings, score: rewardsOf(1e39, 2) });
      assert.match(run.error!.message, /^Training diverged at step 5: the loss is NaN/);
      assert.deepEqual(run.messages, [NOTHING_SAVED(4)]);
      assert.deepEqual(checkpointsIn(dir), []);
    }));
});

describe("a run that fails between two steps", () => {
  it("saves the last whole step, the same as a run that was stopped there, and goes on from it", () =>
    withScratchFolder(async (dir) => {
      const settings = { save_steps: 0, scatter_every: 3 };
      const [whole, stopped, failed] = ["whole", "stopped", "failed"].map((name) => join(dir, name));
      const complete = await tinyRun(whole, { settings });
      await tinyRun(stopped, { settings, stopAfter: 2 });
      const run = await tinyRun(failed, { settings, score: goneAt(3), evaluate: evaluation });
      assert.equal(run.error!.message, "the scorer is gone");
      assert.deepEqual(run.messages, []);
      assert.deepEqual([checkpointsIn(failed), finalWeightsIn(failed)], [[2], []]);
      assertSameRun(failed, stopped);
      const rest = await tinyRun(failed, { settings });
      assert.deepEqual(rest.asked, complete.asked.slice(2));
      assertSameRun(failed, whole);
    }));

  it("where it cannot save either, says so, keeps the checkpoint before and fails with what came first", () =>
    withScratchFolder(async (dir) => {
      const run = await tinyRun(dir, {
        settings: { save_steps: 2 },
        score: goneAt(4),
        // A checkpoint holds a copy of config.json: without it, saving fails.
        onStep: ({ step }) => step === 3 && rmSync(join(dir, "config.json")),
      });
      assert.equal(run.error!.message, "the scorer is gone");
      assert.match(run.messages[0], /^No checkpoint of step 3: Cannot copy .*config\.json/);
      assert.deepEqual(checkpointsIn(dir), [2]);
      assert.deepEqual(readdirSync(dir).filter((name) => name.startsWith(".")), [], "nothing half written");
    }));

  const MOMENTS: [string, number, number][] = [
    ["amid the run", 2, 0],
    ["at the end", 4, 0],
    ["at the end", 4, 1],
  ];
  for (const [when, at, save_steps] of MOMENTS) {
    it(`in an evaluation ${when} keeps the step, and evaluates when it goes on: save_steps ${save_steps}`, () =>
      withScratchFolder(async (dir) => {
        const [whole, failed] = [join(dir, "whole"), join(dir, "failed")];
        const settings = { save_steps, eval_every: 2, scatter_every: 3 };
        const complete = await tinyRun(whole, { settings, evaluate: evaluation });
        let steps = 0;
        const run = await tinyRun(failed, {
          settings,
          onStep: ({ step }) => steps = step,
          evaluate: (lambda) =>
            steps < at ? evaluation(lambda) : Promise.reject(new Error("the scorer is gone")),
        });
        assert.equal(run.error!.message, "the scorer is gone");
        assert.equal(checkpointsIn(failed).at(-1), at);
        assert.deepEqual(finalWeightsIn(failed), []);
        const rest = await tinyRun(failed, { settings, evaluate: evaluation });
        assert.deepEqual(stepsOf(rest.events), stepsOf(complete.events).filter((step) => step > at));
        assert.equal(rest.events[2], `evaluate ${at}`);
        assert.equal(rest.result!.rows[0]["eval/total_samples"], 1);
        // Saved after the failure, before the scatter window of the last steps was written out.
        assertSameRun(failed, whole, at === 4 ? ["checkpoint-4"] : []);
        assert.deepEqual((await tinyRun(failed, { settings, evaluate: evaluation })).result!.rows, []);
      }));
  }
});

describe("a run that ends", () => {
  it("frees on the GPU all that it took, also where it fails", async () => {
    await withScratchFolder(async (dir) => {
      assert.equal((await tinyRun(join(dir, "whole"))).leakedTensors, 0);
      assert.equal((await tinyRun(join(dir, "failed"), { score: goneAt(2) })).leakedTensors, 0);
    });
  });

  it("tells of its steps and evaluations in one row for each step", () =>
    withScratchFolder(async (dir) => {
      const { result } = await tinyRun(dir, { settings: { eval_every: 2 }, evaluate: evaluation });
      assert.deepEqual(result!.rows.map((row) => row["eval/total_samples"]), [undefined, 1, undefined, 1]);
      assert.ok(result!.rows.every(({ loss }) => loss !== undefined));
    }));
});
