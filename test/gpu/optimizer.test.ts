/** AdamW over named parameters: what is decayed, and what a gradient that is not finite leaves. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { readFloats, uploadTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";
import { createOptimizer, disposeOptimizer, optimizerStep } from "../../src/train/optimizer.ts";

const CONFIG = {
  adam_beta1: 0.9,
  adam_beta2: 0.999,
  adam_epsilon: 1e-8,
  weight_decay: 0.5,
  max_grad_norm: 1,
};
const START = [1, -2, 3];

/** The values of parameters of these names after one step with the same gradient for each. */
async function afterOneStep(names: readonly string[], gradient: number[]): Promise<number[][]> {
  const weights = names.map((name): Weight => ({
    name,
    shape: [START.length],
    format: "f32",
    tensor: uploadTensor(Float32Array.from(START), [START.length]),
    grad: uploadTensor(Float32Array.from(gradient), [START.length]),
  }));
  const optimizer = createOptimizer(weights);
  optimizerStep(optimizer, 0.5, CONFIG).dispose();
  const values: number[][] = [];
  for (const { tensor } of weights) values.push(Array.from(await readFloats(tensor)));
  disposeOptimizer(optimizer);
  tf.dispose(weights.flatMap(({ tensor, grad }) => [tensor, grad!]));
  return values;
}

describe("the optimizer", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("decays matrices, embedding and head, and neither biases nor norms", async () => {
    const decayed = ["model.embed_tokens.weight", "lm_head.weight", "model.layers.0.self_attn.q_proj.weight"];
    const kept = [
      "model.norm.weight",
      "model.layers.1.input_layernorm.weight",
      "model.layers.1.self_attn.q_norm.weight",
      "model.layers.0.self_attn.q_proj.bias",
      "score_head.bias",
    ];
    const values = await afterOneStep([...decayed, ...kept], [0, 0, 0]);
    decayed.forEach((name, i) => assert.deepEqual(values[i], START.map((value) => 0.75 * value), name));
    kept.forEach((name, i) => assert.deepEqual(values[decayed.length + i], START, name));
  });

  for (const spoilt of [Infinity, -Infinity, NaN]) {
    it(`takes nothing of a step with a gradient of ${spoilt}, says so, and goes on from clear gradients`, async () => {
      const names = ["lm_head.weight", "model.norm.weight"];
      const weights = names.map((name): Weight => ({
        name,
        shape: [START.length],
        format: "f32",
        tensor: uploadTensor(Float32Array.from(START), [START.length]),
        grad: uploadTensor(Float32Array.of(0.5, 1, name === names[1] ? spoilt : 2), [START.length]),
      }));
      const optimizer = createOptimizer(weights);
      const clip = optimizerStep(optimizer, 0.5, CONFIG);
      const [norm, scale] = await readFloats(clip);
      assert.ok(!Number.isFinite(norm), `the norm that is read is ${norm}`);
      assert.equal(scale, 0);
      for (const { weight, firstMoment, secondMoment } of optimizer.slots) {
        assert.deepEqual([...await readFloats(weight.tensor)], START);
        for (const cleared of [firstMoment, secondMoment, weight.grad!]) {
          assert.deepEqual([...await readFloats(cleared)], [0, 0, 0]);
        }
      }
      clip.dispose();
      disposeOptimizer(optimizer);
      tf.dispose(weights.flatMap(({ tensor, grad }) => [tensor, grad!]));
    });
  }
});
