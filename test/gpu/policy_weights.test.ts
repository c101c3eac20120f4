/** Weights of a policy: each once, as narrow as it may be, and nothing left of them when they are freed. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { trimPool } from "../../src/gpu/pool.ts";
import { readFloats, uploadTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, type Gpu, openGpu } from "../../src/gpu/device.ts";
import {
  createAdapters,
  disposePolicyWeights,
  disposeReference,
  freezeReference,
  linearModules,
  trainableWeights,
} from "../../src/policy/adapters.ts";
import { disposeTrunk, makeTrunk, policyLogprobs } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";
import type { LayerWeights } from "../../src/policy/families/layout.ts";
import { listWeights, loadPolicyWeights } from "../../src/policy/weights.ts";
import { hostSource } from "../../src/policy/weight_source.ts";
import { uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { logitsOf } from "../parity/golden_models.ts";
import { TINY_CONFIG, tinyPolicy, tinySource } from "./tiny_policy.ts";

let gpu: Gpu;
before(async () => void (gpu = await openGpu()));
after(closeGpu);

const SEQUENCES = [[1, 60, 3, 3, 8, 21, 40]];

const held = () => {
  trimPool();
  return { bytes: gpu.memory().liveBytes, tensors: tf.memory().numTensors };
};

async function adaptedPolicy(isFresh: boolean): Promise<Policy> {
  const policy = await tinyPolicy();
  const config = { rank: 3, alpha: 5, useRslora: false };
  const adapters = createAdapters(policy.weights, config, linearModules(policy.weights), 5);
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

describe("the weights of a policy", () => {
  it("are all that a training pass leaves on the GPU, beside what it adds to their gradients", async () => {
    const policy = await tinyPolicy("float32");
    const train = () => {
      tf.tidy(() => {
        const batch = uploadMicroBatch([{ prompt: { ids: SEQUENCES[0] }, tokens: [5, 9, 2] }]);
        const forward = () => policyLogprobs(policy, batch.sequences, { ...batch, temperature: 1 })[0];
        tf.engine().gradients(forward, [policy.root], tf.fill([batch.targets.size], 0.01), false);
      });
      return held();
    };
    const first = train();
    assert.deepEqual(train(), first);
  });

  it("begin with gradients of zero, and adapters with a B of zero, whatever their buffers held before", async () => {
    const sizes = trainableWeights(await adaptedPolicy(true)).concat(
      trainableWeights(await tinyPolicy("float32")),
    );
    const used = sizes.flatMap(({ shape }) =>
      [0, 1].map(() =>
        uploadTensor(new Float32Array(shape.reduce((size, n) => size * n, 1)).fill(NaN), shape)
      )
    );
    tf.dispose(used); // to the pool, for what is made next
    const isZero = async (tensor: tf.Tensor) => (await readFloats(tensor)).every((value) => value === 0);
    for (const policy of [await adaptedPolicy(true), await tinyPolicy("float32")]) {
      for (const { name, tensor, grad } of trainableWeights(policy)) {
        assert.ok(await isZero(grad!), `gradient of ${name}`);
        if (name.includes("lora_B")) assert.ok(await isZero(tensor), name);
      }
    }
  });

  it("are listed once each, also where head and embedding are one: what is trained is updated once", async () => {
    for (const [policy, count] of [[await tiedPolicy(), 20], [await tinyPolicy("float32"), 21]] as const) {
      const trained = trainableWeights(policy);
      assert.equal(trained.length, count);
      assert.equal(new Set(trained).size, count);
    }
  });

  it("are held in bf16 where two share a word, and in f32 where a row has an odd number of them", async () => {
    const tiny = tinySource();
    const shapeOf = (name: string) => tiny.shapeOf(name)!.map((size) => size === 48 ? 45 : size);
    const sizeOf = (name: string) => shapeOf(name).reduce((size, n) => size * n, 1);
    const read = async (name: string) => (await tiny.read(name)).slice(0, sizeOf(name));
    const config = parseModelConfig(JSON.stringify({ ...TINY_CONFIG, intermediate_size: 45 }), "odd");
    const tensors = tf.memory().numTensors;
    const weights = await loadPolicyWeights(hostSource({ path: "odd", shapeOf, read }), config, "bfloat16");
    assert.equal(tf.memory().numTensors - tensors, 2 * listWeights(weights).length, "each with its gradient");
    const { gate, down, inputNorm } = weights.layers[0] as Required<LayerWeights>;
    assert.deepEqual([gate, down, inputNorm].map(({ format }) => format), ["bf16", "f32", "f32"]);
    assert.ok([gate, down, inputNorm].every(({ grad }) => grad !== null), "all are trained");
    const logits = await logitsOf(makeTrunk(config, weights), SEQUENCES);
    assert.ok(logits.every(Number.isFinite) && new Set(logits).size > 100, "and computed with");
  });
});
