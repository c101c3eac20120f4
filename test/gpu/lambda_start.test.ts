/** Rules of lambda in whole runs: what one_shot does before the first step, and what pid remembers over a resume. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { RunConfig } from "../../src/config/sweep.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import { dualLambda } from "../../src/rl/lambda/dual.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { assertSameRun, rowsIn, textScores, type TinyRun, tinyRun } from "./tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

const SETTINGS: Partial<RunConfig> = {
  lambda_rule: "one_shot",
  lambda_dual_prompts: 6,
  cost_threshold_d: -0.95,
};

/** The same batch, by two ranks. */
const asTwo = (dir: string, settings: Partial<RunConfig>, stopAfter?: number): Promise<TinyRun[]> =>
  Promise.all(
    inProcessRanks(2).map((communicator) =>
      tinyRun(dir, {
        settings: { ...settings, per_device_train_batch_size: 2, zero_stage: 0 },
        communicator,
        stopAfter,
      })
    ),
  );

describe("one_shot", () => {
  it("samples and scores before the first step, solves the dual, and keeps that lambda", () =>
    withScratchFolder(async (dir) => {
      const { asked, messages, error } = await tinyRun(dir, { settings: SETTINGS });
      assert.equal(error, null);
      // 6 prompts of 2 completions, two prompts a batch; then the four steps.
      assert.equal(asked.length, 3 + 4);
      const scored = asked.slice(0, 3);
      assert.equal(new Set(scored.flatMap(({ prompts }) => prompts)).size, 6);
      const completions = scored.map((one) => one.completions.join());
      assert.ok(!asked.slice(3).some((one) => completions.includes(one.completions.join())), "drawn apart");
      const all = scored.map((one) => textScores(one.completions));
      const lambda = dualLambda({
        rewards: all.flatMap(({ rewards }) => rewards),
        costs: all.flatMap(({ costs }) => costs),
        groupSize: 2,
      }, { beta: 0.1, cost_threshold_d: -0.95, lambda_max: 5 });
      assert.ok(lambda > 0 && lambda < 5, `${lambda}`);
      assert.deepEqual(rowsIn(dir).map((row) => row["lambda/value"]), Array(4).fill(lambda));
      assert.match(messages[0], /^lambda is \d.*: the dual's solution over 12 completions of 6 prompts$/);
    }));

  it("finds on two ranks what one rank finds, to the bit", () =>
    withScratchFolder(async (dir) => {
      const one = await tinyRun(join(dir, "one"), { settings: { ...SETTINGS, max_steps: 1 } });
      const two = await asTwo(join(dir, "two"), { ...SETTINGS, max_steps: 1 });
      for (const { error, result } of two) {
        assert.equal(error, null);
        assert.deepEqual(result!.progress.lambdas, one.result!.progress.lambdas);
      }
      assert.deepEqual(two.map(({ messages }) => messages.length), [1, 0]);
    }));

  it("is never made again: a run that goes on takes lambda from its checkpoint", () =>
    withScratchFolder(async (dir) => {
      const [whole, parts] = [join(dir, "whole"), join(dir, "parts")];
      await tinyRun(whole, { settings: SETTINGS });
      await tinyRun(parts, { settings: SETTINGS, stopAfter: 2 });
      const rest = await tinyRun(parts, { settings: SETTINGS });
      assert.deepEqual([rest.asked.length, rest.messages], [2, []]);
      assertSameRun(parts, whole);
    }));

  it("says where no lambda keeps the limit", () =>
    withScratchFolder(async (dir) => {
      const settings = { ...SETTINGS, cost_threshold_d: 5, max_steps: 1 };
      const { messages } = await tinyRun(dir, { settings });
      assert.match(
        messages[0],
        /^Warning: lambda is lambda_max = 5: over 12 completions of 6 prompts no lambda/,
      );
    }));
});

describe("pid", () => {
  const pid: Partial<RunConfig> = { lambda_rule: "pid", lambda_d_delay: 2, lambda_kd: 1, lambda_ki: 0.1 };

  it("goes on to the bit from what it remembers", () =>
    withScratchFolder(async (dir) => {
      const [whole, parts] = [join(dir, "whole"), join(dir, "parts")];
      await tinyRun(whole, { settings: pid });
      await tinyRun(parts, { settings: pid, stopAfter: 2 });
      assert.equal((await tinyRun(parts, { settings: pid })).error, null);
      assertSameRun(parts, whole);
      const lambdas = rowsIn(whole).map((row) => row["lambda/value"]);
      assert.equal(new Set(lambdas).size, 4);
    }));

  it("remembers apart on ranks that have a lambda each", () =>
    withScratchFolder(async (dir) => {
      const settings: Partial<RunConfig> = { ...pid, lambda_scope: "rank" };
      const [whole, parts] = [join(dir, "whole"), join(dir, "parts")];
      const first = await asTwo(whole, settings);
      await asTwo(parts, settings, 2);
      const rest = await asTwo(parts, settings);
      const lambdasOf = (runs: TinyRun[]) => runs.map(({ result }) => result!.progress.lambdas[0]);
      assert.deepEqual(lambdasOf(rest), lambdasOf(first));
      assert.notEqual(lambdasOf(rest)[0].pid!.integral, lambdasOf(rest)[1].pid!.integral);
    }));
});
