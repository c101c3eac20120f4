/** A model that is freed leaves nothing on the GPU, and takes nothing with it that another still needs. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { trimPool } from "../../src/gpu/bridge.ts";
import { closeGpu, type Gpu, openGpu } from "../../src/gpu/device.ts";
import { targetModules } from "../../src/policy/adapter_config.ts";
import {
  createAdapters,
  disposePolicyWeights,
  disposeReference,
  freezeReference,
} from "../../src/policy/adapters.ts";
import { disposeTrunk, makeTrunk, type Policy } from "../../src/policy/llama.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";
import { loadPolicyWeights } from "../../src/policy/weights.ts";
import { logitsOf } from "../parity/golden_models.ts";
import { TINY_CONFIG, tinyPolicy, tinySource } from "./tiny_policy.ts";

const SEQUENCES = [[1, 60, 3, 3, 8, 21, 40]];

async function adaptedPolicy(isFresh: boolean): Promise<Policy> {
  const policy = await tinyPolicy();
  const config = { rank: 3, alpha: 5, useRslora: false };
  const adapters = createAdapters(policy.weights, config, targetModules("all-linear"), 5);
  return { ...policy, adapters: { ...adapters, isFresh } };
}

async function tiedPolicy(): Promise<Policy> {
  const config = parseModelConfig(JSON.stringify({ ...TINY_CONFIG, tie_word_embeddings: true }), "tied");
  return makeTrunk(config, await loadPolicyWeights(tinySource(), config, "float32"));
}

const POLICIES: Record<string, () => Promise<Policy>> = {
  "trained as a whole": () => tinyPolicy("float32"),
  "with tied embeddings": tiedPolicy,
  "with new adapters": () => adaptedPolicy(true),
  "with adapters of an earlier run": () => adaptedPolicy(false),
};

describe("a policy that is freed", () => {
  let gpu: Gpu;
  before(async () => void (gpu = await openGpu()));
  after(closeGpu);

  const held = () => {
    trimPool();
    return { bytes: gpu.memory().liveBytes, tensors: tf.memory().numTensors };
  };

  for (const [kind, load] of Object.entries(POLICIES)) {
    it(`${kind}: leaves nothing, gradients included, and its reference goes alone`, async () => {
      await logitsOf(await load(), SEQUENCES); // the uniforms of its kernels stay
      const before = held();
      const policy = await load();
      const loaded = held();
      const logits = await logitsOf(policy, SEQUENCES);
      const reference = freezeReference(policy);
      assert.deepEqual(await logitsOf(reference, SEQUENCES), logits);
      disposeReference(reference, policy);
      assert.deepEqual(held(), loaded);
      assert.deepEqual(await logitsOf(policy, SEQUENCES), logits);
      disposePolicyWeights(policy);
      disposeTrunk(policy);
      assert.deepEqual(held(), before);
    });
  }

  it("with tied embeddings, the reference holds head and embedding once", async () => {
    const policy = await tiedPolicy();
    const reference = freezeReference(policy);
    assert.equal(reference.weights.head, reference.weights.embedding);
    assert.notEqual(reference.weights.head, policy.weights.head);
  });
});
