/** No weight of a model is left out anywhere, and what batches leave behind changes no later one. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { randomFloats } from "../cases/case.ts";
import { readFloats, uploadTensor, writeTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";
import { createAdapters, linearModules, mergeAdapter, withoutAdapters } from "../../src/policy/adapters.ts";
import { makeTrunk, policyLogprobs, uploadSequences } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { packSequences } from "../../src/policy/packing.ts";
import { clearGradients, disposeKeys, prefixKeys } from "../../src/policy/shared_prefix.ts";
import { loadPolicyWeights } from "../../src/policy/weights.ts";
import { hostSource } from "../../src/policy/weight_source.ts";
import { uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { logitsOf } from "../parity/golden_models.ts";
import { FAMILIES, familyPolicy, familySource, tinyConfigOf } from "./family_policies.ts";
import { type Family, TINY_CONFIG, tinyPolicy } from "./tiny_policy.ts";

before(async () => void await openGpu());
after(closeGpu);

const SEQUENCE = [1, 60, 3, 3, 8, 21, 40, 12, 44, 31];
/** With adapters on every linear layer that change what the policy says. */
function adapted(policy: Policy): Policy {
  const config = { rank: 3, alpha: 5, useRslora: false };
  const adapters = createAdapters(policy.weights, config, linearModules(policy.weights), 5);
  [...adapters.byWeight.values()].forEach(({ b }, i) =>
    writeTensor(b.tensor, Float32Array.from(randomFloats(100 + i, b.tensor.size, 0.4)))
  );
  return { ...policy, adapters };
}

/** Names of the weights of the first layer whose values the logits do not depend on. */
async function unread(policy: Policy): Promise<string[]> {
  const expected = await logitsOf(policy, [SEQUENCE]);
  const names: string[] = [];
  for (const weight of Object.values(policy.weights.layers[0]) as Weight[]) {
    const values = (await readFloats(weight.tensor)).slice();
    writeTensor(weight.tensor, values.map((value, i) => i % 2 ? value : -value));
    const logits = await logitsOf(policy, [SEQUENCE]);
    if (logits.every((logit, i) => logit === expected[i])) names.push(weight.name);
    writeTensor(weight.tensor, values);
  }
  return names;
}

describe("models of every family", () => {
  for (const family of Object.keys(FAMILIES)) {
    it(`${family}: the logits depend on every weight, with adapters and without`, async () => {
      const policy = await familyPolicy(FAMILIES[family]);
      assert.ok(Object.keys(policy.weights.layers[0]).length > 5);
      assert.deepEqual(await unread(policy), []);
      assert.deepEqual(await unread(adapted(policy)), []);
    });

    it(`${family}: what is trained on is what is sampled from, bit for bit`, async () => {
      const policy = await familyPolicy(FAMILIES[family]);
      const rollouts = [{ prompt: { ids: SEQUENCE.slice(0, 4) }, tokens: SEQUENCE.slice(4) }];
      const logprobs = async (isTaped: boolean) =>
        await readFloats(tf.tidy(() => {
          const batch = uploadMicroBatch(rollouts);
          const forward = () => policyLogprobs(policy, batch.sequences, { ...batch, temperature: 1 })[0];
          if (!isTaped) return forward();
          return tf.engine().gradients(forward, [policy.root], tf.ones([batch.targets.size]), false).value;
        }));
      assert.deepEqual(await logprobs(true), await logprobs(false));
    });

    it(`${family}: adapters merged into the weights give the logits that they give beside them`, async () => {
      const policy = adapted(await familyPolicy(FAMILIES[family]));
      const wanted = await logitsOf(policy, [SEQUENCE]);
      for (const [weight, adapter] of policy.adapters!.byWeight) {
        const values = (await readFloats(weight.tensor)).slice();
        await mergeAdapter(values, adapter);
        writeTensor(weight.tensor, values);
      }
      const merged = await logitsOf(withoutAdapters(policy), [SEQUENCE]);
      const largest = Math.max(...wanted.map(Math.abs));
      // Products are summed in another order: a few roundings of the largest.
      merged.forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) < 1e-5 * largest, `logit ${i}`));
    });
  }
});

describe("rms_norm_eps", () => {
  /**
   * The tiny model with all that norms read (the stream, and with norms of heads queries and keys) made `scale` times as
   * large, and rms_norm_eps to match: the norms then give the same.
   */
  async function scaledLogits(family: Family, scale: number): Promise<Float32Array> {
    const config = tinyConfigOf({ ...family, rms_norm_eps: 0.3 * scale * scale });
    const source = familySource(config);
    const normed = "model_type" in family
      ? /embed_tokens|[oqk]_proj|down_proj/
      : /embed_tokens|o_proj|down_proj/;
    const scaled = hostSource({
      ...source,
      read: async (name) => {
        const values = await source.read(name);
        return normed.test(name) ? values.map((value) => scale * value) : values;
      },
    });
    return await logitsOf(makeTrunk(config, await loadPolicyWeights(scaled, config, "frozen")), [SEQUENCE]);
  }

  const models: Record<string, Family> = { Llama: {}, Qwen3: { model_type: "qwen3", head_dim: 8 } };
  for (const [name, family] of Object.entries(models)) {
    it(`${name}: counts in every norm, as large as config.json says`, async () => {
      const [logits, scaled] = [await scaledLogits(family, 1), await scaledLogits(family, 4)];
      const largest = Math.max(...logits.map(Math.abs));
      // Powers of two round nothing; an inverse root may.
      logits.forEach((logit, i) => assert.ok(Math.abs(scaled[i] - logit) <= 1e-5 * largest, `logit ${i}`));
      const other = await scaledLogits(family, 1 / 16);
      logits.forEach((logit, i) => assert.ok(Math.abs(other[i] - logit) <= 1e-5 * largest, `logit ${i}`));
    });
  }
});

describe("an adapter that is merged", () => {
  it("is added to every row of a matrix so wide that its rows are computed one by one", async () => {
    const [rows, columns] = [2, 2 ** 23 + 1];
    const looked = [0, 1, 4097, columns - 2, columns - 1];
    const [a, b] = [new Float32Array(columns), Float32Array.of(2, -3)];
    looked.forEach((column, i) => a[column] = Math.fround(0.1 + i));
    const weight = (name: string, values: Float32Array, shape: number[]): Weight => {
      return { name, shape, format: "f32", tensor: uploadTensor(values, shape), grad: null };
    };
    const adapter = { a: weight("a", a, [1, columns]), b: weight("b", b, [rows, 1]), scale: 0.5 };
    const values = new Float32Array(rows * columns).fill(1);
    const tensors = tf.memory().numTensors;
    await mergeAdapter(values, adapter);
    assert.equal(tf.memory().numTensors, tensors, "nothing stays");
    for (let row = 0; row < rows; row++) {
      for (const column of looked) {
        const expected = Math.fround(1 + Math.fround(Math.fround(a[column] * b[row]) * 0.5));
        assert.equal(values[row * columns + column], expected, `row ${row}, column ${column}`);
      }
    }
    tf.dispose([adapter.a.tensor, adapter.b.tensor]);
  });
});

describe("gradients that gather at a prompt's keys and values", () => {
  it("begin at zero, whatever their buffers held before, and are freed with them", async () => {
    const policy = await tinyPolicy();
    const prompts = uploadSequences(packSequences([SEQUENCE]));
    const tensors = tf.memory().numTensors;
    const keys = prefixKeys(policy, prompts, true);
    const gathered = keys.flatMap(({ dk, dv }) => [dk!, dv!]);
    assert.equal(gathered.length, 2 * TINY_CONFIG.num_hidden_layers);
    for (const tensor of gathered) writeTensor(tensor, new Float32Array(tensor.size).fill(NaN));
    clearGradients(keys);
    for (const [i, tensor] of gathered.entries()) {
      assert.ok(
        (await readFloats(tensor)).every((value) => value === 0),
        `gradient ${i} of ${gathered.length}`,
      );
    }
    disposeKeys(keys);
    assert.equal(tf.memory().numTensors, tensors, "and go with the keys");
  });
});
