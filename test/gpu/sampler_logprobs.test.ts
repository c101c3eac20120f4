/** The log-probs that decoding keeps of what it sampled: the trainer's own sums, kept whatever becomes of a row. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { randomFloats, randomInts } from "../cases/case.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readFloats } from "../../src/gpu/tensors.ts";
import { withGpuLanes, withPlainKernels } from "../../src/gpu/trial_modes.ts";
import { lmHeadLogprobs } from "../../src/ops/head/lm_head_logprobs.ts";
import { tokenLogprobs } from "../../src/ops/head/token_logprobs.ts";
import { linear } from "../../src/ops/linear/linear.ts";
import {
  type Completion,
  createGenerator,
  type GenerationOptions,
  type GenerationRequest,
} from "../../src/policy/decode/generate.ts";
import { policyLogprobs } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";
import { uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { FAMILIES, familyPolicy } from "./family_policies.ts";
import { tinyPolicy } from "./tiny_policy.ts";

const OPTIONS: GenerationOptions = {
  temperature: 0.8,
  topP: 1,
  topK: 0,
  eosIds: [2],
  maxTokens: 20,
  readbackEvery: 3,
  keepsLogprobs: true,
};
const PROMPTS = [[1, 5, 9, 33], [1, 7], [1, 60, 3, 3, 8, 21, 40, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23]];
const GROUP = 6;

/** Of hidden states and a head, without a model. */
const [ROWS, WIDTH] = [67, 24];

/** Ends completions one after the other, so that the rest go on in ever narrower lanes. */
function endsAnywhere(tokens: readonly number[]): number | null {
  const [drawn] = randomInts(tokens.slice(0, 2).reduce((sum, token) => 61 * sum + token, 7), 1, 18);
  return tokens.length >= 2 + drawn ? 2 + drawn : null;
}

async function generate(
  policy: Policy,
  options: Partial<GenerationOptions> = {},
  request: Partial<GenerationRequest> = {},
): Promise<Completion[]> {
  const generator = createGenerator(policy, { ...OPTIONS, ...options });
  const completions = await generator.generate({
    prompts: PROMPTS,
    groupSize: GROUP,
    seed: 5,
    step: 2,
    ...request,
  });
  generator.dispose();
  return completions;
}

/** As training computes them. */
async function trainedLogprobs(policy: Policy, completions: Completion[], temperature: number) {
  const rollouts = completions.map(({ tokens }, i) => ({
    prompt: { ids: PROMPTS[Math.floor(i / GROUP)] },
    tokens,
  }));
  const [logprobs] = tf.tidy(() => {
    const batch = uploadMicroBatch(rollouts);
    return policyLogprobs(policy, batch.sequences, { ...batch, temperature });
  });
  const values = await readFloats(logprobs);
  logprobs.dispose();
  let start = 0;
  return rollouts.map(({ tokens }) => Array.from(values.slice(start, start += tokens.length)));
}

describe("log-probs of the sampler", () => {
  let policy: Policy;
  before(async () => {
    await openGpu();
    policy = await tinyPolicy();
  });
  after(closeGpu);

  for (
    const [name, options] of Object.entries<Partial<GenerationOptions>>({
      "with the temperature": {},
      "whatever narrows the draw": { topK: 9, topP: 0.9, minP: 0.02, repetitionPenalty: 1.3 },
      "of a single token": { maxTokens: 1 },
    })
  ) {
    it(`are those of training, bit for bit, ${name}`, async () => {
      const completions = await generate(policy, options);
      const trained = await trainedLogprobs(policy, completions, OPTIONS.temperature);
      assert.deepEqual(completions.map(({ logprobs }) => logprobs), trained);
    });
  }

  for (const family of ["Granite with biases", "Gemma 2"]) {
    it(`are those of training where the model divides or bounds its logits: ${family}`, async () => {
      const other = await familyPolicy(FAMILIES[family]);
      const completions = await generate(other);
      assert.deepEqual(
        completions.map(({ logprobs }) => logprobs),
        await trainedLogprobs(other, completions, OPTIONS.temperature),
      );
    });
  }

  it("stay with their tokens when rows end at stop strings and the rest go on in narrower lanes", async () => {
    const whole = await generate(policy);
    const cut = await generate(policy, {}, { findStop: endsAnywhere });
    cut.forEach(({ tokens, logprobs }, i) => {
      assert.deepEqual(tokens, whole[i].tokens.slice(0, tokens.length));
      assert.deepEqual(logprobs, whole[i].logprobs!.slice(0, tokens.length));
    });
    const lengths = new Set(cut.map(({ tokens }) => tokens.length));
    assert.ok(lengths.size > 4, `lengths ${[...lengths]}`);
    const layouts: Partial<GenerationOptions>[] = [{ readbackEvery: 20 }, { compacts: false }];
    for (const layout of layouts) {
      assert.deepEqual(await generate(policy, layout, { findStop: endsAnywhere }), cut);
    }
  });

  it("are null where they were not asked for, as in an evaluation", async () => {
    const [one] = await generate(policy, { keepsLogprobs: false, temperature: 0 });
    assert.equal(one.logprobs, null);
  });

  for (const vocab of [5, 37, 61, 64, 1001]) {
    it(`of a row have the same bits in training's padded chunks and in decoding's rows: ${vocab} tokens`, async () => {
      const h = tf.tensor2d(Float32Array.from(randomFloats(1, ROWS * WIDTH)), [ROWS, WIDTH]);
      const matrix = tf.tensor2d(Float32Array.from(randomFloats(2, vocab * WIDTH)), [vocab, WIDTH]);
      const head: Weight = { name: "head", shape: [vocab, WIDTH], format: "f32", tensor: matrix, grad: null };
      const tokens = tf.tensor1d(randomInts(3, ROWS, vocab), "int32");
      for (const options of [{ temperature: 0.7 }, { temperature: 0.7, softcap: 2, divisor: 3 }]) {
        const both = async () => {
          const [trained] = lmHeadLogprobs(h, head, tokens, { chunkRows: 64, ...options });
          const sampled = tokenLogprobs(linear(h, head, { rows: "few" }), tokens, options)[0];
          return [await readFloats(trained), await readFloats(sampled)];
        };
        for (const device of [both, () => withPlainKernels(both), () => withGpuLanes(both)]) {
          const [trained, sampled] = await device();
          assert.deepEqual(sampled, trained, JSON.stringify(options));
        }
      }
    });
  }
});
