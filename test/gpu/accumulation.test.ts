/** Gradients of every parameter add up over micro-batches, in every family of models: the sum has the bits of one batch. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { randomFloats } from "../cases/case.ts";
import { writeTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { createAdapters, linearModules } from "../../src/policy/adapters.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import type { Holding } from "../../src/policy/weights.ts";
import { FAMILIES, familyPolicy } from "./family_policies.ts";
import { type Family, tinyPolicy, tinySource } from "./tiny_policy.ts";
import { assertNear, ROLLOUTS, trainedOn } from "./training_passes.ts";

const QWEN2 = { model_type: "qwen2" };
const BIASED = { attention_bias: true, mlp_bias: true };
const QWEN3 = { model_type: "qwen3", head_dim: 8 };
const TIED = { ...QWEN2, tie_word_embeddings: true };

const model = (family: Family, holding: Holding = "float32") => () =>
  tinyPolicy(holding, tinySource(), family);

/** Frozen, with adapters that change what it says: each B begins at 0, and A has no gradient until then. */
async function adapted(): Promise<Policy> {
  const policy = await tinyPolicy("frozen", tinySource(), QWEN2);
  const settings = { rank: 3, alpha: 5, useRslora: false };
  const adapters = createAdapters(policy.weights, settings, linearModules(policy.weights), 5);
  [...adapters.byWeight.values()].forEach(({ b }, i) =>
    writeTensor(b.tensor, Float32Array.from(randomFloats(100 + i, b.shape[0] * b.shape[1], 0.4)))
  );
  return { ...policy, adapters };
}

/** Of a layer. */
const PARAMETERS = {
  "OLMo 2": 11,
  "Granite with biases": 16,
  SmolLM3: 9,
  "Phi-3": 6,
  "Gemma 2": 11,
  "Gemma 3": 13,
};

const MODELS: [name: string, make: () => Promise<Policy>, parameters: number][] = [
  ["Llama", model({}), 3 + 2 * 9],
  ["Qwen2, with biases of queries, keys and values", model(QWEN2), 3 + 2 * 12],
  ["Llama with biases everywhere", model(BIASED), 3 + 2 * 16],
  ["Qwen3, with norms of heads", model(QWEN3), 3 + 2 * 11],
  ["Qwen2 held in bf16", model(QWEN2, "bfloat16"), 3 + 2 * 12],
  ["Qwen2 under LoRA", adapted, 2 * 14],
  // Head and embedding apart: an accumulator that both add to shows the split.
  ...(["OLMo 2", "Granite with biases", "SmolLM3", "Phi-3", "Gemma 2", "Gemma 3"] as const).map((name) => {
    const make = () => familyPolicy({ ...FAMILIES[name], tie_word_embeddings: false }, "float32");
    return [name, make, 3 + 2 * PARAMETERS[name]] as [string, () => Promise<Policy>, number];
  }),
];

describe("gradients over micro-batches", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  for (const [name, make, parameters] of MODELS) {
    it(`${name}: every parameter has the bits of one batch, however the completions are split`, async () => {
      const whole = await trainedOn(await make(), false, ROLLOUTS.length);
      assert.equal(Object.keys(whole.gradients).length, parameters);
      for (const [weight, gradient] of Object.entries(whole.gradients)) {
        assert.ok(gradient.some((value) => value !== 0), `${weight} has a gradient`);
      }
      for (const rowsPerPass of [1, 3]) {
        assert.deepEqual(
          await trainedOn(await make(), false, rowsPerPass),
          whole,
          `${rowsPerPass} at a time`,
        );
      }
    });

    it(`${name}: the same where prompts are computed once, and then the gradients of unshared ones`, async () => {
      const whole = await trainedOn(await make(), true, ROLLOUTS.length);
      assert.deepEqual(await trainedOn(await make(), true, 2), whole);
      const apart = await trainedOn(await make(), false, ROLLOUTS.length);
      assertNear(whole.gradients, apart.gradients, 2e-5); // f32 sums of the same terms in another order
    });
  }

  it("tied embeddings: every parameter but they has the bits of one batch, and they are near it", async () => {
    const { gradients: whole } = await trainedOn(await model(TIED)(), false, ROLLOUTS.length);
    const { gradients: split } = await trainedOn(await model(TIED)(), false, 2);
    assert.equal(Object.keys(whole).length, 2 + 2 * 12);
    // Head and embedding add to one accumulator, so a split changes the order of its f32 sums.
    assertNear(split, whole, 2e-6);
    const embedding = Object.keys(whole).find((name) => name.includes("embed_tokens"))!;
    assert.ok(whole[embedding].some((value) => value !== 0));
    delete whole[embedding];
    delete split[embedding];
    assert.deepEqual(split, whole);
  });

  it("tied embeddings have the sum of the gradients that head and embedding have apart", async () => {
    const { gradients: tied } = await trainedOn(await model(TIED)(), false, ROLLOUTS.length);
    const source = tinySource();
    const twice = {
      ...source,
      upload: (name: string, format: "f32") => source.upload(headIsEmbedding(name), format),
    };
    const { gradients: apart } = await trainedOn(
      await tinyPolicy("float32", twice, QWEN2),
      false,
      ROLLOUTS.length,
    );
    const sum = apart["model.embed_tokens.weight"].map((value, i) => value + apart["lm_head.weight"][i]);
    assertNear({ sum: tied["model.embed_tokens.weight"] }, { sum }, 2e-6); // the order of f32 sums
  });
});

const headIsEmbedding = (name: string) => name === "lm_head.weight" ? "model.embed_tokens.weight" : name;
