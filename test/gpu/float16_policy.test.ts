/** A policy whose products run on the device's matrix units: near that in float32, and as free of its neighbours. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { matrixUnitsMissing, setMatmulPrecision } from "../../src/gpu/precision.ts";
import { readFloats, writeTensor } from "../../src/gpu/tensors.ts";
import {
  createAdapters,
  disposePolicyWeights,
  linearModules,
  trainableWeights,
} from "../../src/policy/adapters.ts";
import { policyLogprobs } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { randomFloats } from "../cases/case.ts";
import { leftOut } from "../left_out.ts";
import { tinyPolicy } from "./tiny_policy.ts";

const ROLLOUTS = [
  { prompt: { ids: [1, 5, 9, 33] }, tokens: [7, 12, 60, 2] },
  { prompt: { ids: [1, 7] }, tokens: [3, 3, 8] },
  { prompt: { ids: [1, 60, 3, 3, 8, 21, 40] }, tokens: [5, 2] },
];

/** Log-probs of the completions' tokens, and the gradients that all of them pull by. */
async function passOf(policy: Policy, rollouts: typeof ROLLOUTS) {
  const value = tf.tidy(() => {
    const batch = uploadMicroBatch(rollouts);
    const forward = () => policyLogprobs(policy, batch.sequences, { ...batch, temperature: 1 })[0];
    return tf.engine().gradients(forward, [policy.root], tf.fill([batch.targets.size], 0.01), false).value;
  });
  const count = rollouts.reduce((sum, { tokens }) => sum + tokens.length, 0); // padding lies behind
  return [...await readFloats(value as tf.Tensor)].slice(0, count);
}

/** Frozen, with adapters on every layer whose B is no longer 0. */
async function adaptedPolicy(): Promise<Policy> {
  const policy = await tinyPolicy("frozen");
  const settings = { rank: 4, alpha: 7, useRslora: false };
  const adapters = createAdapters(policy.weights, settings, linearModules(policy.weights), 5);
  [...adapters.byWeight.values()].forEach(({ b }, i) =>
    writeTensor(b.tensor, Float32Array.from(randomFloats(100 + i, b.shape[0] * b.shape[1], 0.4)))
  );
  return { ...policy, adapters };
}

const length = (values: Iterable<number>) => Math.hypot(...values);

describe("a policy on matrix units", () => {
  let missing: string | undefined;
  before(async () => {
    await openGpu();
    missing = matrixUnitsMissing();
  });
  after(() => {
    setMatmulPrecision("float32");
    return closeGpu();
  });

  /** Log-probs and gradients of a fresh policy. */
  async function made(
    precision: "float32" | "float16",
    rollouts = ROLLOUTS,
    makePolicy: () => Promise<Policy> = () => tinyPolicy("float32"),
  ) {
    setMatmulPrecision(precision);
    const policy = await makePolicy();
    const logprobs = await passOf(policy, rollouts);
    const weights = trainableWeights(policy);
    const gradients = await Promise.all(weights.map(({ grad }) => readFloats(grad!)));
    disposePolicyWeights(policy);
    setMatmulPrecision("float32");
    return { logprobs, gradients, names: weights.map(({ name }) => name) };
  }

  async function assertNearFloat32(makePolicy: () => Promise<Policy>): Promise<void> {
    const exact = await made("float32", ROLLOUTS, makePolicy);
    const rounded = await made("float16", ROLLOUTS, makePolicy);
    assert.notDeepEqual(rounded.logprobs, exact.logprobs);
    exact.logprobs.forEach((value, i) => {
      assert.ok(
        Math.abs(rounded.logprobs[i] - value) < 0.02,
        `token ${i}: ${rounded.logprobs[i]}, not ${value}`,
      );
    });
    exact.gradients.forEach((values, i) => {
      const error = length(values.map((value, at) => rounded.gradients[i][at] - value)) / length(values);
      assert.ok(error < 0.02, `${exact.names[i]}: ${error}`);
    });
  }

  it("has the log-probs and gradients of float32 to the rounding of f16", async (test) => {
    if (missing !== undefined) return test.skip(leftOut(test.name, missing));
    await assertNearFloat32(() => tinyPolicy("float32"));
  });

  it("its adapters, which are scaled, have the gradients of float32 to the rounding of f16", async (test) => {
    if (missing !== undefined) return test.skip(leftOut(test.name, missing));
    await assertNearFloat32(adaptedPolicy);
  });

  it("gives a completion the same bits alone and among others", async (test) => {
    if (missing !== undefined) return test.skip(leftOut(test.name, missing));
    const together = (await made("float16")).logprobs;
    const alone = [];
    for (const rollout of ROLLOUTS) alone.push(...(await made("float16", [rollout])).logprobs);
    assert.deepEqual(alone, together);
  });
});
