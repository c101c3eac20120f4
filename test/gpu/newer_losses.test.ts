/** Runs with the newer loss types and switches: stopped, split and shared out, they make the same bits. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { RunConfig } from "../../src/config/sweep.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readFloats, writeTensor } from "../../src/gpu/tensors.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import { freezeReference } from "../../src/policy/adapters.ts";
import { listWeights } from "../../src/policy/weights.ts";
import { disposeLearner, makeLearner } from "../../src/train/learner.ts";
import { syncReference } from "../../src/train/reference_sync.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { tinyPolicy } from "./tiny_policy.ts";
import { assertSameRun, rowsIn, tinyConfig, tinyRun } from "./tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

/** All that a step leaves to the next: the reference, and a coefficient. Each batch is trained on twice. */
const FOLLOWED: Partial<RunConfig> = {
  loss_type: "vespo",
  importance_sampling_mode: "token_truncate",
  num_iterations: 2,
  max_steps: 8,
  beta: 0.1,
  sync_ref_model: true,
  ref_model_mixup_alpha: 0.5,
  ref_model_sync_steps: 3,
  top_entropy_quantile: 0.5,
  use_adaptive_entropy: true,
  entropy_coef: 0.02,
  entropy_target: 10,
  off_policy_mask_threshold: 0.001,
};

const weightsIn = (runDir: string) => readFileSync(join(runDir, "model.safetensors"));

const KINDS: [name: string, settings: Partial<RunConfig>][] = [
  ["vespo with a reference that follows and an entropy bonus that adapts", FOLLOWED],
  ["sapo on the tokens of highest entropy", { loss_type: "sapo", top_entropy_quantile: 0.4 }],
  ["luspo with an entropy bonus", {
    loss_type: "luspo",
    importance_sampling_level: "sequence",
    entropy_coef: 0.05,
  }],
];

describe("a run with newer losses", () => {
  for (const [name, settings] of KINDS) {
    it(`that was stopped ends with the bits of one that was not: ${name}`, () =>
      withScratchFolder(async (dir) => {
        const [whole, parts] = [join(dir, "whole"), join(dir, "parts")];
        assert.equal((await tinyRun(whole, { settings })).error, null);
        await tinyRun(parts, { settings, stopAfter: 2 });
        assert.equal((await tinyRun(parts, { settings })).error, null);
        assertSameRun(parts, whole);
      }));

    it(`has the same bits however many completions make a pass: ${name}`, () =>
      withScratchFolder(async (dir) => {
        const [whole, split] = [join(dir, "whole"), join(dir, "split")];
        await tinyRun(whole, { settings });
        const { error } = await tinyRun(split, { settings, passes: { rowsPerPass: 1 } });
        assert.equal(error, null);
        assert.deepEqual(weightsIn(split), weightsIn(whole));
      }));
  }

  it("shared out over ranks of ZeRO-2 is whole again where another number of ranks goes on", () =>
    withScratchFolder(async (dir) => {
      const [shared, apart] = [join(dir, "shared"), join(dir, "apart")];
      const asTwo = async (run: string, zero_stage: 0 | 2, stopAfter?: number) => {
        const settings = { ...FOLLOWED, zero_stage, per_device_train_batch_size: 2 };
        const runs = await Promise.all(
          inProcessRanks(2).map((communicator) => tinyRun(run, { settings, communicator, stopAfter })),
        );
        assert.deepEqual(runs.map(({ error }) => error), [null, null]);
      };
      await asTwo(apart, 0);
      await asTwo(shared, 2, 2);
      await asTwo(shared, 0);
      assert.deepEqual(weightsIn(shared), weightsIn(apart));
    }));

  it("logs the loss without its bonus, the coefficient and the mean weight of vespo", () =>
    withScratchFolder(async (dir) => {
      await tinyRun(dir, { settings: FOLLOWED });
      const rows = rowsIn(dir);
      // Of each target, since it is above any entropy: 0.005 more after each of two steps.
      assert.deepEqual(rows.map((row) => row.entropy_coef!.toFixed(3)), ["0.030", "0.040", "0.050", "0.060"]);
      for (const row of rows) assert.ok(row.policy_loss! > row.loss!, `${row.policy_loss} ${row.loss}`);
      for (const row of rows) assert.ok(row["vespo/phi_seq_mean"]! > 0 && row["vespo/phi_seq_mean"]! <= 1.5);
    }));
});

describe("a reference that follows", () => {
  it("takes on its share of the policy after every so many steps, and none between", async () => {
    const policy = await tinyPolicy("float32");
    const config = tinyConfig({ ...FOLLOWED, ref_model_sync_steps: 2, ref_model_mixup_alpha: 0.25 });
    const learner = makeLearner(policy, config);
    const [weight] = listWeights(policy.weights);
    const [following] = listWeights(learner.reference!.weights);
    const start = await readFloats(following.tensor);
    const moved = start.map((value, i) => value + (i % 5) / 8);
    writeTensor(weight.tensor, moved);
    learner.optimizer.updates = 3;
    syncReference(learner, config);
    assert.deepEqual(await readFloats(following.tensor), start);
    learner.optimizer.updates = 4;
    syncReference(learner, config);
    const followed = await readFloats(following.tensor);
    // Halves and eighths below 1: two roundings of f32.
    followed.forEach((value, i) =>
      assert.ok(Math.abs(value - start[i] - (i % 5) / 32) < 1e-7, `${i}: ${value}`)
    );
    assert.deepEqual(await readFloats(weight.tensor), moved, "the policy stays as it is");
    disposeLearner(learner);
  });

  it("is held in f32, where one that stays is packed as its file is", async () => {
    const policy = await tinyPolicy("bfloat16");
    const [packed, written] = [freezeReference(policy), freezeReference(policy, true)];
    const formats = (weights: typeof policy.weights) =>
      new Set(listWeights(weights).map(({ format }) => format));
    assert.ok(formats(packed.weights).has("bf16"));
    assert.deepEqual([...formats(written.weights)], ["f32"]);
  });
});
