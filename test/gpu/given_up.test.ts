/** train/given_up.ts: what a run that is asked to end does not wait for, and that it loses no whole step by it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { openGpu } from "../../src/gpu/device.ts";
import type { Scores } from "../../src/scorer/protocol.ts";
import { GivenUp, scorerWhileWanted } from "../../src/train/given_up.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { assertSameRun, checkpointsIn, evaluation, finalWeightsIn, textScores, tinyRun } from "./tiny_run.ts";

before(async () => void await openGpu());

const never = new Promise<Scores>(() => {});

describe("a run that is asked to end at once", () => {
  it("while it waits for a scorer that hangs saves the step before, and goes on to the same bits", () =>
    withScratchFolder(async (dir) => {
      const [whole, ended] = [join(dir, "whole"), join(dir, "ended")];
      const settings = { save_steps: 0 };
      await tinyRun(whole, { settings });
      let hangs = false;
      const run = await tinyRun(ended, {
        settings,
        score(request, texts) {
          hangs = request === 3;
          return hangs ? never : textScores(texts);
        },
        isHurried: () => hangs,
      });
      assert.equal(run.error, null);
      assert.deepEqual(run.messages, ["Gave up the step in progress: asked to end at once"]);
      assert.deepEqual([run.result!.finished, run.result!.progress.step], [false, 2]);
      assert.deepEqual([checkpointsIn(ended), finalWeightsIn(ended)], [[2], []]);
      assert.equal(run.leakedTensors, 0);
      await tinyRun(ended, { settings });
      assertSameRun(ended, whole);
    }));

  it("while it samples gives up the step, and before the first step saves nothing", () =>
    withScratchFolder(async (dir) => {
      const run = await tinyRun(dir, { isHurried: () => true });
      assert.deepEqual([run.error, run.asked, run.result!.progress.step], [null, [], 0]);
      assert.deepEqual([checkpointsIn(dir), run.leakedTensors], [[], 0]);
    }));

  it("in the last evaluation keeps the step, and is finished when it goes on and has evaluated", () =>
    withScratchFolder(async (dir) => {
      const settings = { eval_every: 4 };
      const run = await tinyRun(dir, {
        settings,
        evaluate: () => Promise.reject(new GivenUp("Gave up the evaluation")),
      });
      assert.deepEqual([run.error, run.result!.finished, checkpointsIn(dir).at(-1)], [null, false, 4]);
      assert.deepEqual(finalWeightsIn(dir), []);
      const { events } = await tinyRun(dir, { settings, evaluate: evaluation });
      assert.ok(events.includes("evaluate 4"), events.join(", "));
      assert.equal(finalWeightsIn(dir).length, 2);
    }));
});

describe("scores that a run which is asked to end waits for", () => {
  const answers = [{ prompt: "p", completion: "c" }];
  const scores = { rewards: [1], costs: [2] };

  it("arrive, where the scorer is not long", async () => {
    const scorer = { score: () => new Promise<Scores>((resolve) => setTimeout(() => resolve(scores), 250)) };
    const wanted = scorerWhileWanted(scorer, { shouldStop: () => true }, "the step");
    assert.deepEqual(await wanted.score(answers as never), scores);
  });

  it("come of a scorer that tells all that it told before", () => {
    const scorer = { score: () => never, sharesGpu: true, callsAtOnce: () => 3 };
    const { score: _, ...rest } = scorerWhileWanted(scorer, { shouldStop: () => false }, "it");
    assert.deepEqual([rest.sharesGpu, rest.callsAtOnce?.()], [true, 3]);
  });

  it("fail as the scorer does", async () => {
    const scorer = { score: () => Promise.reject(new Error("gone")) };
    await assert.rejects(
      scorerWhileWanted(scorer, { shouldStop: () => true }, "it").score([]),
      /^Error: gone$/,
    );
  });
});
