/** No weight of a model is left out anywhere, and what batches leave behind changes no later one. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { randomFloats } from "../../bench/case.ts";
import { readFloats, uploadTensor, writeTensor } from "../../src/gpu/bridge.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import type { Weight } from "../../src/ops/weight.ts";
import { targetModules } from "../../src/policy/adapter_config.ts";
import { createAdapters, mergeAdapter, withoutAdapters } from "../../src/policy/adapters.ts";
import { makeTrunk, type Policy, policyLogprobs, uploadSequences } from "../../src/policy/llama.ts";
import { parseModelConfig } from "../../src/policy/model_config.ts";
import { packSequences } from "../../src/policy/packing.ts";
import { loadScoreModel, parseScoreConfig, scoreSequences } from "../../src/policy/score_model.ts";
import { clearGradients, disposeKeys, prefixKeys } from "../../src/policy/shared_prefix.ts";
import { hostSource, loadPolicyWeights, type WeightSource } from "../../src/policy/weights.ts";
import { uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { logitsOf } from "../parity/golden_models.ts";
import { TINY_CONFIG, tinyPolicy, tinySource } from "./tiny_policy.ts";

before(async () => void await openGpu());
after(closeGpu);

const SEQUENCE = [1, 60, 3, 3, 8, 21, 40, 12, 44, 31];
/** Families with weights that plain Llama lacks. */
const FAMILIES: Record<string, object> = {
  "Llama with biases": { attention_bias: true, mlp_bias: true },
  "Qwen2": { model_type: "qwen2" },
  "Qwen3 with biases": { model_type: "qwen3", head_dim: 8, attention_bias: true },
};

/** The tiny weights, biases and norms of heads beside them. */
function familySource(): WeightSource {
  const tiny = tinySource();
  const lengthOf = (name: string) => {
    if (/[qk]_norm/.test(name)) return 8;
    if (name.endsWith(".bias")) return tiny.shapeOf(name.replace(".bias", ".weight"))![0];
  };
  return hostSource({
    path: "family",
    shapeOf: (name) => {
      const length = lengthOf(name);
      return length === undefined ? tiny.shapeOf(name) : [length];
    },
    async read(name) {
      const length = lengthOf(name);
      if (length === undefined) return await tiny.read(name);
      const values = randomFloats(name.length * 31 + name.charCodeAt(name.length - 6), length, 0.5);
      return Float32Array.from(values, (value) => name.includes("norm") ? 1 + value : value);
    },
  });
}

async function familyPolicy(family: string): Promise<Policy> {
  const config = parseModelConfig(JSON.stringify({ ...TINY_CONFIG, ...FAMILIES[family] }), "family");
  return makeTrunk(config, await loadPolicyWeights(familySource(), config, "frozen"));
}

/** With adapters on every linear layer that change what the policy says. */
function adapted(policy: Policy): Policy {
  const config = { rank: 3, alpha: 5, useRslora: false };
  const adapters = createAdapters(policy.weights, config, targetModules("all-linear"), 5);
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
      const policy = await familyPolicy(family);
      assert.ok(Object.keys(policy.weights.layers[0]).length > 9);
      assert.deepEqual(await unread(policy), []);
      assert.deepEqual(await unread(adapted(policy)), []);
    });

    it(`${family}: what is trained on is what is sampled from, bit for bit`, async () => {
      const policy = await familyPolicy(family);
      const rollouts = [{ prompt: { ids: SEQUENCE.slice(0, 4) }, tokens: SEQUENCE.slice(4) }];
      const logprobs = async (isTaped: boolean) =>
        await readFloats(tf.tidy(() => {
          const batch = uploadMicroBatch(rollouts);
          const forward = () => policyLogprobs(policy, batch.sequences, batch.picked, batch.targets, 1)[0];
          if (!isTaped) return forward();
          return tf.engine().gradients(forward, [policy.root], tf.ones([batch.targets.size]), false).value;
        }));
      assert.deepEqual(await logprobs(true), await logprobs(false));
    });

    it(`${family}: adapters merged into the weights give the logits that they give beside them`, async () => {
      const policy = adapted(await familyPolicy(family));
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

describe("an adapter that is merged", () => {
  it("is added to every row of a matrix so wide that its rows are computed one by one", async () => {
    const [rows, columns] = [2, 2 ** 23 + 1];
    const [a, b] = [randomFloats(1, columns), Float64Array.of(2, -3)];
    const weight = (name: string, values: Float64Array, shape: number[]): Weight => {
      return {
        name,
        shape,
        format: "f32",
        tensor: uploadTensor(Float32Array.from(values), shape),
        grad: null,
      };
    };
    const adapter = { a: weight("a", a, [1, columns]), b: weight("b", b, [rows, 1]), scale: 0.5 };
    const values = new Float32Array(rows * columns).fill(1);
    await mergeAdapter(values, adapter);
    for (let row = 0; row < rows; row++) {
      for (const column of [0, 1, 4097, columns - 2, columns - 1]) {
        const expected = Math.fround(1 + Math.fround(Math.fround(a[column] * b[row]) * 0.5));
        assert.equal(values[row * columns + column], expected, `row ${row}, column ${column}`);
      }
    }
    tf.dispose([adapter.a.tensor, adapter.b.tensor]);
  });
});

describe("gradients that gather at a prompt's keys and values", () => {
  it("begin at zero, whatever their buffers held before", async () => {
    const policy = await tinyPolicy();
    const prompts = uploadSequences(packSequences([SEQUENCE]));
    const keys = prefixKeys(policy, prompts, true);
    const gathered = keys.flatMap(({ dk, dv }) => [dk!, dv!]);
    assert.equal(gathered.length, 2 * TINY_CONFIG.num_hidden_layers);
    for (const tensor of gathered) writeTensor(tensor, new Float32Array(tensor.size).fill(NaN));
    clearGradients(keys);
    for (const tensor of gathered) assert.ok((await readFloats(tensor)).every((value) => value === 0));
    disposeKeys(keys);
  });
});

describe("a score model", () => {
  /** The tiny trunk with a head, and what else is given by name. */
  const load = (extra: Record<string, number[]> = {}, config: object = {}) => {
    const trunk = tinySource();
    const own: Record<string, number[]> = {
      "score_head.weight": Array.from({ length: TINY_CONFIG.hidden_size }, (_, d) => Math.sin(d)),
      ...extra,
    };
    const source = hostSource({
      path: "tiny score model",
      shapeOf: (name) => {
        if (name === "score_head.weight") return [1, TINY_CONFIG.hidden_size];
        if (name in own) return [own[name].length];
        return name.startsWith("model.") ? trunk.shapeOf(name) : undefined;
      },
      read: (name) => name in own ? Promise.resolve(Float32Array.from(own[name])) : trunk.read(name),
    });
    return loadScoreModel(source, parseScoreConfig(JSON.stringify({ ...TINY_CONFIG, ...config }), "tiny"));
  };

  it("gives a batch the same scores when batches of other lengths came between", async () => {
    /** Texts on so many prompts of so many tokens, two on each. */
    const texts = (prompts: number, promptTokens: number, ownTokens: number) =>
      Array.from({ length: 2 * prompts }, (_, t) => [
        ...Array.from({ length: promptTokens }, (_, i) => 3 + (7 * i + 5 * Math.floor(t / 2)) % 50),
        ...Array.from({ length: ownTokens }, (_, i) => 3 + (11 * i + 13 * t) % 50),
      ]);
    // Few rows of prompts with many of completions, so that small passes are kept; then prompts of few rows, of many,
    // whose keys take the place of the first ones', and of few again.
    const [large, few, many] = [texts(3, 20, 40), texts(3, 20, 3), texts(6, 30, 3)];
    const model = await load();
    await scoreSequences(model, large);
    const before = await scoreSequences(model, few);
    await scoreSequences(model, many);
    assert.deepEqual(await scoreSequences(model, few), before);
    assert.deepEqual(
      before,
      await scoreSequences(await load(), few),
      "as by a model that scored nothing before",
    );
  });

  it("takes a mean of 0 from its weights, not from config.json", async () => {
    const extra = { "normalizer.mean": [0], "normalizer.var": [4] };
    const { normalizer } = await load(extra, { do_normalize: true, mean: [3], var: [9] });
    assert.deepEqual(normalizer, { mean: 0, variance: 4 });
  });
});
