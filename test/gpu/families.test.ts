/** What families compute otherwise than Llama is made of our ops alone, so that their passes can be replayed. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { defaultConfig } from "../../src/config/schema.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { makePassReplays } from "../../src/policy/pass_replays.ts";
import { freezeReference } from "../../src/policy/adapters.ts";
import { type Holding, listWeights } from "../../src/policy/weights.ts";
import { createOptimizer } from "../../src/train/optimizer.ts";
import { prepareUpdate } from "../../src/train/prepared_update.ts";
import { updatePolicy } from "../../src/train/update.ts";
import { FAMILIES, familyPolicy } from "./family_policies.ts";
import { ROLLOUTS } from "./training_passes.ts";

const CONFIG = {
  ...defaultConfig(),
  beta: 0.1,
  num_generations: 3,
  per_device_train_batch_size: 3,
  gradient_accumulation_steps: 2,
  max_completion_length: 8,
  gradient_checkpointing: false,
};
const SCORES = [1, 0.5, -1, 2, 0, 0.25];
const STEPS = 3;

/** Weights after some steps on the same completions, and what was logged. @param keeps passes from step to step */
async function trained(family: string, keeps: boolean, recomputesLayers = false) {
  const policy = { ...await familyPolicy(FAMILIES[family], "float32"), recomputesLayers };
  const replays = () => ({ policy: makePassReplays(), reference: makePassReplays() });
  const learner = {
    policy,
    reference: freezeReference(policy),
    optimizer: createOptimizer(listWeights(policy.weights)),
    rowsPerPass: 3,
    replays: replays(),
  };
  const rollouts = ROLLOUTS.map(({ prompt, tokens }) => ({
    prompt,
    tokens: [...tokens],
    logprobs: null,
    end: "eos" as const,
  }));
  const stats = [];
  for (let step = 0; step < STEPS; step++) {
    if (!keeps) learner.replays = replays();
    const prepared = prepareUpdate(learner, rollouts, step, 1, CONFIG);
    const options = { combined: SCORES, learningRates: [1e-2], config: CONFIG };
    stats.push(await updatePolicy(learner, prepared, options));
  }
  const values = await Promise.all(listWeights(policy.weights).map(({ tensor }) => readFloats(tensor)));
  return { stats, values };
}

describe("steps of every family", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  for (const family of Object.keys(FAMILIES)) {
    it(`${family}: replayed passes give the bits of passes recorded anew, and of layers run twice`, async () => {
      const kept = await trained(family, true);
      assert.ok(kept.values.every((values) => values.every(Number.isFinite)));
      assert.deepEqual(await trained(family, false), kept);
      assert.deepEqual(await trained(family, true, true), kept);
    });
  }

  it("the scale of embeddings is rounded to the type that these are held in, as transformers rounds Gemma's", async () => {
    const family = { ...FAMILIES["Gemma 2"], hidden_size: 36, head_dim: 12 };
    const scaleOf = async (holding: Holding) => (await familyPolicy(family, holding)).embeddingScale;
    assert.deepEqual([await scaleOf("float32"), await scaleOf("bfloat16")], [6, 6], "6 is exact");
    const odd = { ...family, hidden_size: 40 };
    const [exact, short] = [await familyPolicy(odd, "float32"), await familyPolicy(odd, "bfloat16")];
    assert.equal(exact.embeddingScale, Math.fround(Math.sqrt(40)));
    assert.equal(short.embeddingScale, 6.3125); // torch.tensor(40 ** 0.5).bfloat16()
    assert.equal(freezeReference(short).embeddingScale, 6.3125, "and the reference has the policy's");
  });
});
