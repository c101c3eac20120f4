/** Runs of several costs: each with its lambda, the same over a kill, a resume and ranks, whatever the composition. */
import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { readRollouts } from "../../src/assembly/rollouts.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import { ADVANTAGE_COMPOSITIONS } from "../../src/rl/composition.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { assertSameRun, rowsIn, textScores, tinyRun, type TinyRunOptions } from "./tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

const COSTS: RunConfig["costs"] = [{ name: "harm" }, { name: "tone", lambda_cost: 2, lambda_rule: "pid" }];

/** Two costs that depend on the texts alone; the cost of a completion is the larger one. */
function twoCosts(_: number, texts: string[]) {
  const { rewards, costs: harm } = textScores(texts);
  const tone = textScores(texts.map((text) => `tone of ${text}`)).costs.map((cost) => cost - 0.75);
  return {
    rewards,
    costs: harm.map((cost, i) => Math.max(cost, tone[i])),
    named: { "costs/harm": harm, "costs/tone": tone },
  };
}

const options = (settings: Partial<RunConfig> = {}): TinyRunOptions => ({
  settings: { costs: COSTS, ...settings },
  score: twoCosts,
});

describe("a run of two costs", () => {
  it("moves the lambda of each by its own costs and rule, and combines all", () =>
    withScratchFolder(async (dir) => {
      const { error, result } = await tinyRun(dir, options({ max_steps: 2, log_completions: "all" }));
      assert.equal(error, null);
      const [first] = rowsIn(dir);
      const harm = Math.exp(0.1 * first["costs/harm/mean"]!); // lambda_lr times the first J, from ln 1 = 0
      const tone = 2 + 0.01 * first["costs/tone/mean"]! + 0.1 * first["costs/tone/mean"]!; // I + Kp P
      assert.ok(Math.abs(first["lambda/harm/value"]! - harm) < 1e-12);
      assert.ok(Math.abs(first["lambda/tone/value"]! - tone) < 1e-12);
      assert.equal(first["lambda/value"], undefined);
      assert.deepEqual(
        result!.progress.lambdas.map(({ lambda }) => lambda),
        ["harm", "tone"].map((name) => rowsIn(dir)[1][`lambda/${name}/value`]),
      );
      for await (const { step, reward, cost, combined, scores, lambda } of readRollouts(dir)) {
        if (step > 1) break;
        assert.deepEqual(lambda, { harm: first["lambda/harm/value"], tone: first["lambda/tone/value"] });
        const [ofHarm, ofTone] = [scores!["costs/harm"]!, scores!["costs/tone"]!];
        assert.ok(Math.abs(combined - (reward - harm * ofHarm - tone * ofTone)) < 1e-9);
        assert.equal(cost, Math.max(ofHarm, ofTone));
      }
    }));

  for (const advantage_composition of ADVANTAGE_COMPOSITIONS) {
    it(`goes on after a kill to the same bits with ${advantage_composition}`, () =>
      withScratchFolder(async (dir) => {
        const [whole, killed] = [join(dir, "whole"), join(dir, "killed")];
        const settings = { advantage_composition, save_steps: 2, max_steps: 3 };
        await tinyRun(whole, {
          ...options(settings),
          onStep: ({ step }) => step === 3 && cpSync(whole, killed, { recursive: true }),
        });
        const rest = await tinyRun(killed, options(settings));
        assert.equal(rest.error, null);
        assertSameRun(killed, whole);
      }));
  }

  it("learns otherwise with each composition", () =>
    withScratchFolder(async (dir) => {
      const losses = new Set<number>();
      for (const advantage_composition of ADVANTAGE_COMPOSITIONS) {
        const own = join(dir, advantage_composition);
        const settings: Partial<RunConfig> = { advantage_composition, max_steps: 1, loss_type: "dr_grpo" };
        await tinyRun(own, options(settings));
        losses.add(rowsIn(own)[0].grad_norm!);
      }
      assert.equal(losses.size, ADVANTAGE_COMPOSITIONS.length);
    }));

  for (const lambda_scope of ["global", "rank"] as const) {
    it(`has, as two ranks with lambda_scope ${lambda_scope}, the scores and advantages that it should`, () =>
      withScratchFolder(async (dir) => {
        const [two, one] = [join(dir, "two"), join(dir, "one")];
        const settings: Partial<RunConfig> = {
          lambda_scope,
          advantage_composition: "ppo_lag",
          max_steps: 2,
          save_steps: 2,
          zero_stage: 0,
          log_completions: "all",
        };
        const runs = await Promise.all(
          inProcessRanks(2).map((communicator) => tinyRun(two, { ...options(settings), communicator })),
        );
        assert.deepEqual(runs.map(({ error }) => error), [null, null]);
        const [first, second] = runs.map(({ result }) => result!.progress.lambdas);
        if (lambda_scope === "global") {
          assert.deepEqual(first, second);
          await tinyRun(one, options({ ...settings, gradient_accumulation_steps: 2 }));
          const lambdasIn = (folder: string) => rowsIn(folder).map((row) => row["lambda/tone/value"]);
          assert.deepEqual(lambdasIn(two), lambdasIn(one));
        } else {
          first.forEach(({ lambda }, k) => assert.notEqual(lambda, second[k].lambda));
        }
        // Prompts of two completions, whose groups lie on one rank each: A = z / (1 + sum of that rank's lambdas).
        const bySum = new Set<number>();
        for await (const { step, lambda } of readRollouts(two)) {
          const { harm, tone } = lambda as Record<string, number>;
          if (step === 2) bySum.add(harm + tone);
        }
        assert.equal(bySum.size, lambda_scope === "global" ? 1 : 2);
      }));
  }

  it("does not go on with other costs, and says so", () =>
    withScratchFolder(async (dir) => {
      await tinyRun(dir, { ...options(), stopAfter: 1 });
      const { error } = await tinyRun(dir, { ...options({ costs: [COSTS![0]] }) });
      assert.match(
        error!.message,
        /Cannot resume from .*costs: checkpoint \[.*"tone".*\], now \[\{"name":"harm"\}\]/,
      );
    }));
});
