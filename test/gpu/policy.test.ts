/** The policy as a whole: packing, generation and log-probs agree with each other. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { readFloats } from "../../src/gpu/tensors.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { rehearse } from "../../src/gpu/rehearsal.ts";
import { bytesToF32, f32ToBytes } from "../../src/io/tensors/dtype.ts";
import {
  type Completion,
  createGenerator,
  type GenerationOptions,
} from "../../src/policy/decode/generate.ts";
import { policyLogprobs } from "../../src/policy/transformer.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { type Holding, listWeights } from "../../src/policy/weights.ts";
import { hostSource } from "../../src/policy/weight_source.ts";
import { uploadMicroBatch } from "../../src/train/micro_batch.ts";
import { tinyPolicy, tinySource } from "./tiny_policy.ts";

const OPTIONS: GenerationOptions = {
  temperature: 1,
  topP: 1,
  topK: 0,
  eosIds: [2],
  maxTokens: 9,
  readbackEvery: 4,
};
const PROMPTS = [[1, 5, 9, 33], [1, 7], [1, 60, 3, 3, 8, 21, 40]];

interface Sequence {
  prompt: { ids: number[] };
  tokens: number[];
}

function rolloutsOf(completions: Completion[], groupSize: number): Sequence[] {
  return completions.map(({ tokens }, i) => ({
    prompt: { ids: PROMPTS[Math.floor(i / groupSize)] },
    tokens,
  }));
}

/** Log-probs of each completion's tokens by the full forward pass. */
async function logprobsOf(policy: Policy, rollouts: Sequence[]): Promise<number[][]> {
  const [logprobs] = tf.tidy(() => {
    const batch = uploadMicroBatch(rollouts);
    return policyLogprobs(policy, batch.sequences, { ...batch, temperature: 1 });
  });
  const values = await readFloats(logprobs);
  let start = 0;
  return rollouts.map(({ tokens }) => Array.from(values.slice(start, start += tokens.length)));
}

/** Gradients of a fixed weighting of the log-probs, after the given micro-batches. */
async function gradientsOf(
  batches: Sequence[][],
  { recomputesLayers = false, holding = "float32" as Holding, source = tinySource() } = {},
): Promise<Float32Array[]> {
  const policy = { ...await tinyPolicy(holding, source), recomputesLayers };
  for (const rollouts of batches) {
    tf.tidy(() => {
      const batch = uploadMicroBatch(rollouts);
      const forward = () => policyLogprobs(policy, batch.sequences, { ...batch, temperature: 1 })[0];
      tf.engine().gradients(forward, [policy.root], tf.fill([batch.targets.size], 0.01), false);
    });
  }
  return await Promise.all(listWeights(policy.weights).map(({ grad }) => readFloats(grad!)));
}

describe("the policy", () => {
  let policy: Policy;
  before(async () => {
    await openGpu();
    policy = await tinyPolicy();
  });
  after(closeGpu);

  const generate = async (prompts: number[][], groupSize: number, options = OPTIONS, place = {}) => {
    const generator = createGenerator(policy, options);
    const completions = await generator.generate({ prompts, groupSize, seed: 11, step: 3, ...place });
    generator.dispose();
    return completions;
  };

  it("greedy decoding over the KV cache takes the argmax of the full forward pass at every token", async () => {
    const completions = await generate(PROMPTS, 1, { ...OPTIONS, temperature: 0 });
    for (let p = 0; p < PROMPTS.length; p++) {
      const chosen = completions[p].tokens;
      const alternatives = Array.from({ length: 61 }, (_, token) => ({
        prompt: { ids: [...PROMPTS[p], ...chosen.slice(0, -1)] },
        tokens: [token],
      }));
      const scores = (await logprobsOf(policy, alternatives)).map(([logprob]) => logprob);
      assert.equal(scores.indexOf(Math.max(...scores)), chosen[chosen.length - 1], `prompt ${p}`);
    }
  });

  it("the same seed gives the same completions, another seed others", async () => {
    const first = await generate(PROMPTS, 4);
    assert.deepEqual(await generate(PROMPTS, 4), first);
    assert.notDeepEqual(await generate(PROMPTS, 4, OPTIONS, { seed: 12 }), first);
    assert.notDeepEqual(await generate(PROMPTS, 4, OPTIONS, { step: 4 }), first);
  });

  it("a prompt's completions do not depend on which prompts stand beside it", async () => {
    const together = await generate(PROMPTS, 3);
    const alone = await generate([PROMPTS[2]], 3, OPTIONS, { firstPrompt: 2 });
    assert.deepEqual(alone, together.slice(6));
  });

  it("how often the host looks at the tokens changes nothing", async () => {
    const often = await generate(PROMPTS, 2, { ...OPTIONS, readbackEvery: 1 });
    assert.deepEqual(await generate(PROMPTS, 2, { ...OPTIONS, readbackEvery: 100 }), often);
  });

  it("a completion ends with the end token and is never longer than asked for", async () => {
    const completions = await generate(PROMPTS, 20, { ...OPTIONS, maxTokens: 30 });
    assert.ok(completions.some(({ end }) => end === "eos"), "some completion ends by itself");
    for (const { tokens, end } of completions) {
      assert.equal(tokens.indexOf(2), end === "eos" ? tokens.length - 1 : -1);
      assert.ok(
        end === "eos" ? tokens.length <= 30 : tokens.length === 30,
        `${tokens.length} tokens, ended by ${end}`,
      );
    }
  });

  it("a stop is kept up to the tokens that wrote it", async () => {
    const findStop = (tokens: readonly number[]) => tokens.length >= 3 ? 3 : null;
    const whole = await generate(PROMPTS, 6);
    const expected = whole.map((one) =>
      one.tokens.length < 3 ? one : { tokens: one.tokens.slice(0, 3), logprobs: null, end: "stop" }
    );
    // A look sees 1, 5 or 9 tokens: more than the stop needs, and as many as there can be.
    for (const readbackEvery of [1, 4, 8]) {
      assert.deepEqual(await generate(PROMPTS, 6, { ...OPTIONS, readbackEvery }, { findStop }), expected);
    }
    assert.ok(expected.some(({ end }) => end === "stop") && whole.some(({ end }) => end !== "stop"));
  });

  it("a completion whose last possible token is the end token has ended by itself", async () => {
    const whole = await generate(PROMPTS, 8, { ...OPTIONS, eosIds: [] });
    const { maxTokens } = OPTIONS;
    const index = whole.findIndex(({ tokens }) => tokens.indexOf(tokens[maxTokens - 1]) === maxTokens - 1);
    const eos = whole[index].tokens[maxTokens - 1];
    const completions = await generate(PROMPTS, 8, { ...OPTIONS, eosIds: [eos] });
    assert.deepEqual(completions[index], { tokens: whole[index].tokens, logprobs: null, end: "eos" });
    for (const [i, { tokens, end }] of completions.entries()) {
      const at = whole[i].tokens.indexOf(eos);
      assert.deepEqual(tokens, at < 0 ? whole[i].tokens : whole[i].tokens.slice(0, at + 1));
      assert.equal(end, at < 0 ? "length" : "eos");
    }
  });

  it("a completion of one token ends by the end token or by its length", async () => {
    const eosIds = [2, 7, 11, 29, 47, 58];
    const whole = await generate(PROMPTS, 8, { ...OPTIONS, eosIds });
    const single = await generate(PROMPTS, 8, { ...OPTIONS, eosIds, maxTokens: 1 });
    const expected = whole.map(({ tokens }) => ({
      tokens: tokens.slice(0, 1),
      logprobs: null,
      end: eosIds.includes(tokens[0]) ? "eos" : "length",
    }));
    assert.deepEqual(single, expected);
    assert.equal(new Set(expected.map(({ end }) => end)).size, 2, "some end, some do not");
  });

  it("a second batch of the same size reuses the recorded plan and still reads the new weights", async () => {
    const other = await tinyPolicy();
    const generator = createGenerator(other, OPTIONS);
    const request = { prompts: PROMPTS, groupSize: 2, seed: 1, step: 1 };
    const before = await generator.generate(request);
    const scaled = tf.tidy(() => tf.mul(other.weights.head.tensor, -1));
    const { copyTensor } = await import("../../src/gpu/tensors.ts");
    copyTensor(scaled, other.weights.head.tensor);
    assert.notDeepEqual(await generator.generate(request), before);
    generator.dispose();
  });

  it("log-probs of a sequence have the same bits alone and among others", async () => {
    const rollouts = rolloutsOf(await generate(PROMPTS, 3), 3);
    const together = await logprobsOf(policy, rollouts);
    for (const i of [0, 4, 8]) {
      assert.deepEqual((await logprobsOf(policy, [rollouts[i]]))[0], together[i], `rollout ${i}`);
    }
  });

  it("accumulated gradients have the same bits however the batch is split", async () => {
    const rollouts = rolloutsOf(await generate(PROMPTS, 2), 2);
    const whole = await gradientsOf([rollouts]);
    const split = await gradientsOf([rollouts.slice(0, 1), rollouts.slice(1, 4), rollouts.slice(4)]);
    assert.ok(whole.every((grad) => grad.some((value) => value !== 0)), "every weight has a gradient");
    assert.deepEqual(split, whole);
  });

  it("running each layer again in backward changes no bit of the gradients and takes less memory", async () => {
    const rollouts = rolloutsOf(await generate(PROMPTS, 2), 2);
    const measured = async (recomputesLayers: boolean) => {
      const bytes = await rehearse(async (memory) => {
        await gradientsOf([rollouts], { recomputesLayers });
        return memory().peakBytes;
      });
      return { gradients: await gradientsOf([rollouts], { recomputesLayers }), bytes };
    };
    const kept = await measured(false);
    const again = await measured(true);
    assert.deepEqual(again.gradients, kept.gradients);
    assert.ok(again.bytes < kept.bytes, `${again.bytes} bytes, ${kept.bytes} with all activations kept`);
  });

  it("weights held in bf16 give the gradients of f32 weights of the same values, bit for bit", async () => {
    const rollouts = rolloutsOf(await generate(PROMPTS, 2), 2);
    const whole = tinySource();
    const rounded = hostSource({
      ...whole,
      read: async (name) => {
        const values = await whole.read(name);
        return whole.shapeOf(name)!.length < 2 ? values : bytesToF32(f32ToBytes(values, "BF16"), "BF16");
      },
    });
    const packed = await gradientsOf([rollouts], { holding: "bfloat16", source: whole });
    assert.deepEqual(packed, await gradientsOf([rollouts], { holding: "float32", source: rounded }));
  });

  it("a prompt too long for the model's positions is refused before anything runs", async () => {
    await assert.rejects(
      async () => await generate([new Array(60).fill(5)], 2),
      /60: the model has 64 positions/,
    );
    await assert.rejects(
      async () => await generate([new Array(56).fill(5)], 2),
      /9 tokens after a prompt of 56: the model has 64 positions/,
    );
  });

  it("prompt and completion may fill the model's positions to the last", async () => {
    const prompt = Array.from({ length: 55 }, (_, i) => (7 * i) % 61);
    const [{ tokens }] = await generate([prompt], 1, { ...OPTIONS, eosIds: [], temperature: 0 });
    assert.equal(tokens.length, 9);
    const alternatives = Array.from({ length: 61 }, (_, token) => ({
      prompt: { ids: [...prompt, ...tokens.slice(0, -1)] },
      tokens: [token],
    }));
    const scores = (await logprobsOf(policy, alternatives)).map(([logprob]) => logprob);
    assert.equal(scores.indexOf(Math.max(...scores)), tokens[8]);
  });
});
