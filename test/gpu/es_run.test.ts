/** Whole runs by evolution strategies: their order, their replay log, going on from it, and several ranks. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { RunConfig } from "../../src/config/sweep.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import { trainableWeights } from "../../src/policy/adapters.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { fitnessOf, membersOf, updateTerms } from "../../src/rl/es.ts";
import { readReplayLog } from "../../src/train/es/replay_log.ts";
import { tinyPolicy } from "./tiny_policy.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import {
  assertSameRun,
  checkpointsIn,
  finalWeightsIn,
  rowsIn,
  stepsOf,
  textScores,
  tinyConfig,
  tinyRun,
  type TinyRunOptions,
} from "./tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

/** Four members answer three prompts. */
const ES: Partial<RunConfig> = {
  algorithm: "es",
  es_population_size: 4,
  es_batch_size: 3,
  es_sigma: 0.05,
  es_alpha: 0.05,
  save_steps: 0,
  scatter_every: 3,
  debug_log_every: 2,
  scorer_batch_size: 3,
};

const esRun = (dir: string, options: TinyRunOptions = {}) =>
  tinyRun(dir, {
    makePolicy: () => tinyPolicy("perturbed"),
    ...options,
    settings: { ...ES, ...options.settings },
  });

async function weightsOf(policy: Policy): Promise<Record<string, Float32Array>> {
  const weights: Record<string, Float32Array> = {};
  for (const { name, tensor } of trainableWeights(policy)) weights[name] = await readFloats(tensor);
  return weights;
}

const LOG = "es_replay.jsonl";
const rowsOf = async (dir: string) => (await readReplayLog(join(dir, LOG)))!.rows;

describe("a run by evolution strategies", () => {
  it("weighs costs with the lambda before, and updates lambda after the step from the policy's own costs", () =>
    withScratchFolder(async (dir) => {
      const run = await esRun(dir, { settings: { max_steps: 2 } });
      assert.equal(run.error, null);
      assert.equal(run.leakedTensors, 0);
      const rows = rowsIn(dir);
      const config = tinyConfig(ES);
      let lambda = config.lambda_cost;
      for (const [i, row] of rows.entries()) {
        // Requests of a step: of each member, then of the policy itself.
        const asked = run.asked.slice(5 * i, 5 * i + 5).map(({ completions }) => textScores(completions));
        const fitness = asked.slice(0, 4).map(({ rewards, costs }) =>
          fitnessOf(rewards, costs, lambda, config)
        );
        const mean = fitness.reduce((sum, value) => sum + value, 0) / 4;
        assert.ok(Math.abs(row["combined/mean"]! - mean) < 1e-12);
        const terms = updateTerms(membersOf(i + 1, config), fitness, config.es_alpha)!;
        const logged = (await rowsOf(dir))[i];
        assert.deepEqual(logged.coefficients, terms.map(({ coefficient }) => coefficient));
        assert.deepEqual(logged.seeds, terms.map(({ seed }) => seed));
        const own = asked[4].costs.reduce((sum, cost) => sum + cost, 0) / 3;
        assert.ok(Math.abs(row["lambda/J_C_raw"]! - own) < 1e-12);
        lambda = row["lambda/value"]!;
        assert.notEqual(lambda, config.lambda_cost);
        assert.ok(row["unperturbed/cost"] === row["lambda/J_C_raw"] && row.iteration === i + 1);
      }
      assert.deepEqual(finalWeightsIn(dir), ["model.safetensors", "pytorch_model.bin"]);
    }));

  for (const es_noise of ["iid", "antithetic", "original"] as const) {
    it(`${es_noise}: killed after any step, without any checkpoint, it goes on from the replay log to the bit`, () =>
      withScratchFolder(async (dir) => {
        const settings = { es_noise };
        const whole = await esRun(join(dir, "whole"), { settings });
        const killed = () => {
          throw new Error("killed");
        };
        const broken = join(dir, "broken");
        const first = await esRun(broken, { settings, onStep: (row) => row.step === 2 && killed() });
        assert.match(first.error!.message, /killed/);
        // A kill leaves no checkpoint, and half a line.
        rmSync(join(broken, "checkpoint-2"), { recursive: true, force: true });
        writeFileSync(join(broken, LOG), `${readFileSync(join(broken, LOG), "utf8")}{"step":3,"se`);
        const second = await esRun(broken, { settings });
        assert.equal(second.error, null);
        assert.deepEqual(stepsOf(second.events), [3, 4]);
        assert.deepEqual(whole.error, null);
        assertSameRun(broken, join(dir, "whole"));
      }));
  }

  it("goes on from a whole checkpoint and the iterations behind it", () =>
    withScratchFolder(async (dir) => {
      const settings = { es_full_checkpoint_every: 2, max_steps: 4 };
      await esRun(join(dir, "whole"), { settings });
      const broken = join(dir, "broken");
      await esRun(broken, { settings, stopAfter: 3 });
      rmSync(join(broken, "checkpoint-3"), { recursive: true });
      assert.deepEqual(checkpointsIn(broken), [2]);
      const { events, error } = await esRun(broken, { settings });
      assert.equal(error, null);
      assert.deepEqual(stepsOf(events), [4]);
      assertSameRun(broken, join(dir, "whole"));
    }));

  it("refuses another sigma on the way, and names it", () =>
    withScratchFolder(async (dir) => {
      await esRun(dir, { stopAfter: 1 });
      rmSync(join(dir, "checkpoint-1"), { recursive: true });
      const { error } = await esRun(dir, { settings: { es_sigma: 0.1 } });
      assert.match(
        error!.message,
        /Cannot resume from .*es_replay.jsonl.*es_sigma: checkpoint 0.05, now 0.1/,
      );
    }));

  for (const es_noise of ["antithetic", "original"] as const) {
    it(`${es_noise}: three ranks, of which one has fewer members, end with the bits of one`, () =>
      withScratchFolder(async (dir) => {
        const settings: Partial<RunConfig> = { es_noise, max_steps: 3, check_ranks_every: 1 };
        await esRun(join(dir, "one"), { settings });
        const weights: Record<string, Float32Array>[] = [];
        const runs = await Promise.all(
          inProcessRanks(3).map((communicator, rank) =>
            esRun(join(dir, "three"), {
              settings,
              communicator,
              onEnd: async (policy) => void (weights[rank] = await weightsOf(policy)),
            })
          ),
        );
        assert.deepEqual(runs.map(({ error }) => error), [null, null, null]);
        assert.deepEqual(weights[1], weights[0]);
        assert.deepEqual(weights[2], weights[0]);
        assert.deepEqual(await rowsOf(join(dir, "three")), await rowsOf(join(dir, "one")));
        assert.deepEqual(rowsIn(join(dir, "three")), rowsIn(join(dir, "one")));
        const file = (run: string) => readFileSync(join(dir, run, "model.safetensors"));
        assert.ok(file("three").equals(file("one")));
      }));
  }

  it("skips an iteration whose fitness is no number, and ends after as many as max_nonfinite_steps", () =>
    withScratchFolder(async (dir) => {
      const bad = new Set([1, 6, 11]); // a member's request of each of three steps
      const { error, messages } = await esRun(dir, {
        settings: { max_nonfinite_steps: 2 },
        score: (request, completions) => {
          const scores = textScores(completions);
          return bad.has(request) ? { ...scores, rewards: scores.rewards.map(() => Infinity) } : scores;
        },
      });
      assert.match(messages.join("\n"), /Skipped step 1: the fitness of a member is Infinity; 1 in a row/);
      assert.match(error!.message, /diverged at step 2.*--set es_alpha=0.005/);
      assert.deepEqual((await rowsOf(dir)).map(({ seeds }) => seeds.length), [0, 0]);
    }));

  it("given up amid an iteration it leaves the weights of the step before, and goes on to the same end", () =>
    withScratchFolder(async (dir) => {
      for (const es_noise of ["iid", "original"] as const) {
        const [whole, broken] = [join(dir, `whole-${es_noise}`), join(dir, es_noise)];
        await esRun(whole, { settings: { es_noise } });
        let steps = 0;
        let looks = 0;
        const first = await esRun(broken, {
          settings: { es_noise },
          onStep: () => void steps++,
          isHurried: () => steps === 2 && looks++ > 1, // not the first member of step 3
        });
        assert.equal(first.error, null);
        assert.match(first.messages.join(), /Gave up the step in progress/);
        const { error } = await esRun(broken, { settings: { es_noise } });
        assert.equal(error, null);
        assertSameRun(broken, whole);
        assert.equal(existsSync(join(broken, "checkpoint-2")), es_noise === "iid");
      }
    }));
});
