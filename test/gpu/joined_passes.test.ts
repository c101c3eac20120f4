/** Several micro-batches in a pass, with or without gradients: the bits are those of each alone. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { defaultConfig } from "../../src/config/schema.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { uploadSequences } from "../../src/policy/transformer.ts";
import { listWeights } from "../../src/policy/weights.ts";
import { LOSS_TYPE_NAMES, type LossType } from "../../src/rl/loss_types.ts";
import { passesAtOnce } from "../../src/train/frozen_passes.ts";
import { disposeLearner, makeLearner } from "../../src/train/learner.ts";
import { sharePrompts, uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { frozenLogprobs } from "../../src/train/passes.ts";
import { disposeUpdate, prepareUpdate } from "../../src/train/prepared_update.ts";
import { updatePolicy } from "../../src/train/update.ts";
import { tinyPolicy } from "./tiny_policy.ts";
import { ROLLOUTS } from "./training_passes.ts";

const CONFIG = { ...defaultConfig(), beta: 0.1, max_completion_length: 8, max_prompt_length: 8 };

const trained = ROLLOUTS.map(({ prompt, tokens }) => ({
  prompt,
  tokens: [...tokens],
  logprobs: null,
  end: "eos" as const,
}));

/** What steps of six micro-batches of one completion log, and the weights after them. */
async function stepsOf(loss_type: LossType, rowsPerPass: number) {
  const sizes = { per_device_train_batch_size: 1, gradient_accumulation_steps: 6, num_generations: 3 };
  const config = { ...CONFIG, ...sizes, loss_type };
  const policy = await tinyPolicy("float32");
  const learner = makeLearner(policy, config, { rowsPerPass });
  const stats = [];
  for (let step = 0; step < 2; step++) {
    const prepared = prepareUpdate(learner, trained, step, 1, config);
    const options = { combined: [1, 0.5, -1, 2, 0, 0.25], learningRates: [1e-2], config };
    stats.push(await updatePolicy(learner, prepared, options));
  }
  const weights = await Promise.all(listWeights(policy.weights).map(({ tensor }) => readFloats(tensor)));
  disposeLearner(learner);
  return { stats, weights };
}

describe("passes over several micro-batches", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  for (const loss of LOSS_TYPE_NAMES) {
    it(`${loss}: give the weights and the metrics of one at a time`, async () => {
      const alone = await stepsOf(loss, 1);
      for (const rows of [2, 6]) assert.deepEqual(await stepsOf(loss, rows), alone, `${rows} at a time`);
    });
  }

  it("layers run again as the settings say, else the plan, else the model's size", async () => {
    const recomputes = async (gradient_checkpointing: boolean | "auto", recomputesLayers?: boolean) => {
      const learner = makeLearner(await tinyPolicy("float32"), { ...CONFIG, gradient_checkpointing }, {
        recomputesLayers,
      });
      disposeLearner(learner);
      return learner.policy.recomputesLayers;
    };
    assert.deepEqual([await recomputes("auto", true), await recomputes("auto", false)], [true, false]);
    assert.deepEqual([await recomputes(false, true), await recomputes(true, false)], [false, true]);
    assert.equal(await recomputes("auto"), false, "a small model, without a plan");
  });

  it("those without gradients take up to four micro-batches, as long as they are not full before", () => {
    const sizes = { max_prompt_length: 256, max_completion_length: 512 };
    assert.deepEqual([1, 2, 3, 4, 5].map((rows) => passesAtOnce(rows, true, sizes)), [4, 2, 1, 1, 1]);
    assert.deepEqual([1, 2, 3].map((rows) => passesAtOnce(rows, false, sizes)), [2, 1, 1]);
    assert.equal(passesAtOnce(1, true, { ...sizes, max_completion_length: 8 }), 4);
  });

  it("those without gradients give each micro-batch the log-probs, to the bit, that it has alone", async () => {
    const policy = await tinyPolicy("float32");
    const learner = makeLearner(policy, CONFIG, { rowsPerPass: 1 });
    assert.ok(trained.length > 4, "a last pass that is not full");
    const { steps: [step], ...update } = prepareUpdate(learner, trained, 0, 1, CONFIG);
    const together = await Promise.all(step.batches.map(({ refLogprobs }) => readFloats(refLogprobs!)));
    const shared = sharePrompts(trained)!;
    const alone = tf.tidy(() => {
      const batches = trained.map((rollout) => uploadMicroBatch([rollout], shared));
      const prompts = uploadSequences(shared.packed);
      return frozenLogprobs(learner, learner.reference!, prompts, batches, CONFIG);
    });
    for (const [i, { tokens }] of trained.entries()) {
      const own = (await readFloats(alone[i])).slice(0, tokens.length);
      assert.ok(own.every((value) => value < 0), "log-probs");
      assert.deepEqual(together[i].slice(0, tokens.length), own, `completion ${i}`);
      assert.ok(
        together[i].slice(tokens.length).every((value) => value === 0),
        "nothing where there is no token",
      );
    }
    tf.dispose(alone);
    disposeUpdate({ steps: [step], ...update });
    disposeLearner(learner);
  });
});
