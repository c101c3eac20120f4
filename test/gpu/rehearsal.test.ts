/** A rehearsal counts what the real run takes, and leaves no trace. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { trimPool } from "../../src/gpu/pool.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { closeGpu, type Gpu, openGpu } from "../../src/gpu/device.ts";
import { rehearse } from "../../src/gpu/rehearsal.ts";
import { createGenerator } from "../../src/policy/decode/generate.ts";
import { disposeTrunk, policyLogprobs } from "../../src/policy/transformer.ts";
import { disposeWeights, listWeights } from "../../src/policy/weights.ts";
import { uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { createOptimizer, disposeOptimizer, optimizerStep } from "../../src/train/optimizer.ts";
import { tinyPolicy } from "./tiny_policy.ts";

const OPTIONS = { temperature: 1, topP: 1, topK: 0, eosIds: [-1], maxTokens: 12, readbackEvery: 4 };
const ADAMW = {
  adam_beta1: 0.9,
  adam_beta2: 0.999,
  adam_epsilon: 1e-8,
  weight_decay: 0,
  max_grad_norm: 1,
};

/** Loads, generates, trains and reads back. */
async function run(): Promise<number[]> {
  const policy = await tinyPolicy("float32");
  const optimizer = createOptimizer(listWeights(policy.weights));
  const generator = createGenerator(policy, OPTIONS);
  const completions = await generator.generate({ prompts: [[1, 5, 9]], groupSize: 4, seed: 1, step: 1 });
  generator.dispose();
  const rollouts = completions.map(({ tokens }) => ({ prompt: { ids: [1, 5, 9] }, tokens }));
  const clip = tf.tidy(() => {
    const batch = uploadMicroBatch(rollouts);
    const forward = () => policyLogprobs(policy, batch.sequences, { ...batch, temperature: 1 })[0];
    tf.engine().gradients(forward, [policy.root], tf.fill([batch.targets.size], 0.01), false);
    return optimizerStep(optimizer, 0.1, ADAMW);
  });
  const values = [...await readFloats(clip)];
  clip.dispose();
  disposeOptimizer(optimizer);
  disposeWeights(listWeights(policy.weights));
  disposeTrunk(policy);
  return values;
}

describe("a rehearsal", () => {
  let gpu: Gpu;
  before(async () => void (gpu = await openGpu()));
  after(closeGpu);

  it("counts the bytes that the run then takes at the most", async () => {
    const planned = await rehearse(async (memory) => {
      assert.deepEqual(await run(), [0, 0], "nothing is computed");
      return memory();
    });
    trimPool();
    const { liveBytes } = gpu.memory();
    const [norm] = await run();
    assert.ok(norm > 0, "the real run computes");
    const taken = gpu.memory().peakBytes - liveBytes;
    assert.ok(Math.abs(planned.peakBytes / taken - 1) < 0.01, `planned ${planned.peakBytes}, taken ${taken}`);
  });

  it("may fail, and the real device goes on", async () => {
    const tensors = tf.memory().numTensors;
    await assert.rejects(
      rehearse(async () => {
        await tinyPolicy("float32");
        throw new RangeError("does not fit");
      }),
      /does not fit/,
    );
    assert.equal(tf.memory().numTensors, tensors);
    assert.ok((await run())[0] > 0, "the real run computes");
  });
});
