/** LoRA: what starts equal, what is trained, and what may be loaded. Values are held to peft's in test/parity/lora.ts. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { randomFloats } from "../cases/case.ts";
import { readFloats, writeTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";
import type { AdapterConfig } from "../../src/policy/adapter_config.ts";
import {
  assertContinues,
  createAdapters,
  freezeReference,
  listAdapterWeights,
  loadAdapters,
  mergeAdapter,
  trainableWeights,
  withoutAdapters,
} from "../../src/policy/adapters.ts";
import { createGenerator } from "../../src/policy/decode/generate.ts";
import { policyLogprobs } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { listWeights } from "../../src/policy/weights.ts";
import { hostSource, type WeightSource } from "../../src/policy/weight_source.ts";
import { createOptimizer, disposeOptimizer, optimizerStep } from "../../src/train/optimizer.ts";
import { uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { logitsOf } from "../parity/golden_models.ts";
import { tinyPolicy } from "./tiny_policy.ts";

const SEQUENCES = [[1, 5, 9, 33, 2], [1, 60, 3, 3, 8, 21, 40, 12, 44, 31]];
const CONFIG: AdapterConfig = { rank: 3, alpha: 5, useRslora: false };
const ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

const ROLLOUTS = SEQUENCES.flatMap((ids) => [
  { prompt: { ids }, tokens: [7, 8, 2] },
  { prompt: { ids }, tokens: [50, 2] },
]);

/** A frozen random policy with new adapters on all linear layers. */
async function adaptedPolicy(config = CONFIG, modules = ALL, seed = 5): Promise<Policy> {
  const policy = await tinyPolicy();
  return { ...policy, adapters: createAdapters(policy.weights, config, modules, seed) };
}

/** Gives every B random values, so that the adapters change what the policy says. */
function scramble({ adapters }: Policy): void {
  [...adapters!.byWeight.values()].forEach(({ b }, i) =>
    writeTensor(b.tensor, Float32Array.from(randomFloats(100 + i, b.shape[0] * b.shape[1], 0.4)))
  );
}

function backward(policy: Policy, rollouts: typeof ROLLOUTS): void {
  tf.tidy(() => {
    const batch = uploadMicroBatch(rollouts);
    const forward = () => policyLogprobs(policy, batch.sequences, { ...batch, temperature: 1 })[0];
    tf.engine().gradients(forward, [policy.root], tf.fill([batch.targets.size], 0.1), false);
  });
}

const valuesOf = (weights: readonly Weight[]) => Promise.all(weights.map(({ tensor }) => readFloats(tensor)));
const gradsOf = (weights: readonly Weight[]) => Promise.all(weights.map(({ grad }) => readFloats(grad!)));

/** An adapter file that holds what the weights hold. */
async function sourceOf(weights: readonly Weight[]): Promise<WeightSource> {
  const values = await valuesOf(weights);
  const index = (name: string) => weights.findIndex((weight) => weight.name === name);
  return hostSource({
    path: "adapter",
    names: () => weights.map(({ name }) => name),
    shapeOf: (name) => weights[index(name)]?.shape,
    read: (name) => Promise.resolve(values[index(name)]),
  });
}

describe("LoRA adapters", () => {
  before(openGpu);
  after(closeGpu);

  it("new ones change no bit of the logits, start A within 1/sqrt(in), and differ by seed and layer", async () => {
    const policy = await adaptedPolicy();
    assert.deepEqual(await logitsOf(policy, SEQUENCES), await logitsOf(withoutAdapters(policy), SEQUENCES));
    const drawn = listAdapterWeights(policy.adapters!).filter(({ name }) => name.includes("lora_A"));
    assert.equal(drawn.length, 14);
    const [values, others] = [
      drawn,
      listAdapterWeights((await adaptedPolicy(CONFIG, ALL, 6)).adapters!)
        .filter(({ name }) => name.includes("lora_A")),
    ];
    for (const [i, a] of (await valuesOf(values)).entries()) {
      const largest = Math.max(...a.map(Math.abs)) * Math.sqrt(drawn[i].shape[1]);
      assert.ok(largest <= 1 && largest > 0.9, `${drawn[i].name}: ${largest}`);
    }
    const all = [...await valuesOf(values), ...await valuesOf(others)].map((a) => a.slice(0, 8).join());
    assert.equal(new Set(all).size, 28);
  });

  it("they alone have gradients and optimizer state, of the same bits however the batch is split", async () => {
    const gradients = async (batches: (typeof ROLLOUTS)[]) => {
      const policy = await adaptedPolicy();
      scramble(policy);
      assert.ok(listWeights(policy.weights).every(({ grad }) => grad === null));
      for (const rollouts of batches) backward(policy, rollouts);
      return await gradsOf(trainableWeights(policy));
    };
    const whole = await gradients([ROLLOUTS]);
    assert.equal(whole.length, 28);
    assert.ok(whole.every((grad) => grad.some((value) => value !== 0)));
    assert.deepEqual(await gradients([ROLLOUTS.slice(0, 1), ROLLOUTS.slice(1)]), whole);
  });

  it("backward leaves no tensor behind, and allocates none for a gradient of a frozen weight", async () => {
    const policy = await adaptedPolicy();
    backward(policy, ROLLOUTS);
    const before = tf.memory().numTensors;
    backward(policy, ROLLOUTS);
    assert.equal(tf.memory().numTensors, before);
  });

  it("an optimizer step moves the adapters and no bit of the weights under them", async () => {
    const policy = await adaptedPolicy();
    const before = await valuesOf(listWeights(policy.weights));
    const reference = freezeReference(policy);
    assert.equal(reference.weights, policy.weights, "no copy");
    const referenceLogits = await logitsOf(reference, SEQUENCES);
    const optimizer = createOptimizer(trainableWeights(policy));
    backward(policy, ROLLOUTS);
    optimizerStep(optimizer, 0.1, {
      adam_beta1: 0.9,
      adam_beta2: 0.999,
      adam_epsilon: 1e-8,
      weight_decay: 0,
      max_grad_norm: 1,
    }).dispose();
    disposeOptimizer(optimizer);
    assert.notDeepEqual(await logitsOf(policy, SEQUENCES), referenceLogits);
    assert.deepEqual(await logitsOf(reference, SEQUENCES), referenceLogits);
    assert.deepEqual(await valuesOf(listWeights(policy.weights)), before);
  });

  it("greedy decoding by the recorded plan takes the argmax of the full forward pass", async () => {
    const policy = await adaptedPolicy({ rank: 8, alpha: 8, useRslora: true });
    scramble(policy);
    const options = { temperature: 0, topP: 1, topK: 0, eosIds: [], maxTokens: 8, readbackEvery: 4 };
    const generator = createGenerator(policy, options);
    const request = { prompts: SEQUENCES, groupSize: 1, seed: 1, step: 0 };
    const completions = await generator.generate(request);
    generator.dispose();
    for (const [p, { tokens }] of completions.entries()) {
      const sequence = [...SEQUENCES[p], ...tokens];
      const logits = await logitsOf(policy, [sequence]);
      tokens.forEach((token, t) => {
        const row = logits.subarray((SEQUENCES[p].length + t - 1) * 61, (SEQUENCES[p].length + t) * 61);
        assert.equal(row.indexOf(Math.max(...row)), token, `prompt ${p}, token ${t}`);
      });
    }
  });

  it("saved and loaded they give the same logits, and the reference then is a frozen copy of them", async () => {
    const policy = await adaptedPolicy();
    scramble(policy);
    const wanted = await logitsOf(policy, SEQUENCES);
    const source = await sourceOf(listAdapterWeights(policy.adapters!));
    const adapters = await loadAdapters(policy.weights, source, CONFIG, true);
    const loaded = { ...policy, adapters };
    assert.deepEqual(await logitsOf(loaded, SEQUENCES), wanted);
    const reference = freezeReference(loaded);
    assert.equal(reference.weights, policy.weights);
    assert.ok(listAdapterWeights(reference.adapters!).every(({ grad }) => grad === null));
    for (const { b } of adapters.byWeight.values()) writeTensor(b.tensor, new Float32Array(b.tensor.size));
    assert.deepEqual(await logitsOf(reference, SEQUENCES), wanted, "the copy stays");
    assert.deepEqual(await logitsOf(loaded, SEQUENCES), await logitsOf(withoutAdapters(policy), SEQUENCES));
  });

  it("merged into the weights they give the logits that they give beside them", async () => {
    const policy = await adaptedPolicy();
    scramble(policy);
    const wanted = await logitsOf(policy, SEQUENCES);
    for (const [weight, adapter] of policy.adapters!.byWeight) {
      const values = (await readFloats(weight.tensor)).slice();
      await mergeAdapter(values, adapter);
      writeTensor(weight.tensor, values);
    }
    const merged = await logitsOf(withoutAdapters(policy), SEQUENCES);
    merged.forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) < 1e-4, `${value}, ${wanted[i]}`));
  });

  it("a file with a missing, misshapen or foreign tensor is refused by the tensor's name", async () => {
    const policy = await adaptedPolicy();
    const weights = listAdapterWeights(policy.adapters!);
    const load = async (held: readonly Weight[], config = CONFIG) =>
      loadAdapters(policy.weights, await sourceOf(held), config, false);
    await assert.rejects(load(weights.slice(1)), /layers\.0\.self_attn\.q_proj\.lora_A\.weight.*is missing/);
    await assert.rejects(load([weights[0]]), /layers\.0\.self_attn\.q_proj\.lora_B\.weight.*is missing/);
    await assert.rejects(load(weights, { ...CONFIG, rank: 4 }), /must have shape \[4,32\].*has \[3,32\]/);
    const head = { ...weights[0], name: "base_model.model.lm_head.lora_A.weight" };
    await assert.rejects(load([...weights, head]), /base_model\.model\.lm_head\.lora_A\.weight/);
    await assert.rejects(load([]), /found no tensor/);
  });

  it("training an adapter on asks for its rank, alpha and modules, and names what differs", async () => {
    const policy = await adaptedPolicy(CONFIG, ["q_proj", "v_proj"]);
    const adapters = policy.adapters!;
    const base = { layers: 2, path: "run" };
    assertContinues(adapters, { ...CONFIG, modules: ["v_proj", "q_proj"] }, base);
    const wanted = { ...CONFIG, rank: 16, modules: ["q_proj"] };
    assert.throws(
      () => assertContinues(adapters, wanted, base),
      /'run'.*lora_r: adapter 3, settings 16; lora_target_modules: adapter q_proj,v_proj, settings q_proj\)/,
    );
  });
});
