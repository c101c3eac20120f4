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
  stepsOf,
  textScores,
  tinyRun,
  type TinyRunOptions,
} from "./tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

type Score = NonNullable<TinyRunOptions["score"]>;

/** Scores by text, until the scorer is gone. */
const goneAt = (at: number): Score => (request, completions) => {
  if (request >= at) throw new Error("the scorer is gone");
  return textScores(completions);
};

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
