/** AdamW over named parameters: what is decayed, and what a gradient that is not finite leaves. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { readFloats, uploadTensor } from "../../src/gpu/bridge.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import type { Weight } from "../../src/ops/weight.ts";
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

  it("leaves every weight as it is when the gradient norm is not finite", async () => {
    assert.deepEqual(await afterOneStep(["lm_head.weight"], [0, Infinity, 1]), [START]);
  });
});
