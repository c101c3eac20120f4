/** What min_p, repetition_penalty and the end tokens promise of whole completions. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { createGenerator, type GenerationOptions } from "../../src/policy/decode/generate.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { tinyPolicy } from "./tiny_policy.ts";

const OPTIONS: GenerationOptions = {
  temperature: 1,
  topP: 1,
  topK: 0,
  eosIds: [2],
  maxTokens: 12,
  readbackEvery: 4,
};
const ALL_ON: GenerationOptions = { ...OPTIONS, topK: 40, topP: 0.95, minP: 0.02, repetitionPenalty: 1.3 };
const PROMPTS = [[1, 5, 9, 33], [1, 7], [1, 60, 3, 3, 8, 21, 40]];

describe("sampling options", () => {
  let policy: Policy;
  before(async () => {
    await openGpu();
    policy = await tinyPolicy();
  });
  after(closeGpu);

  const generate = async (options: GenerationOptions, prompts = PROMPTS, groupSize = 4, place = {}) => {
    const generator = createGenerator(policy, options);
    const completions = await generator.generate({ prompts, groupSize, seed: 11, step: 3, ...place });
    generator.dispose();
    return completions;
  };

  for (const temperature of [0, 0.8]) {
    it(`a completion does not depend on how the batch is split, temperature ${temperature}`, async () => {
      const options = { ...ALL_ON, temperature };
      const together = await generate(options);
      const parts = [];
      for (let p = 0; p < PROMPTS.length; p++) {
        parts.push(...await generate(options, [PROMPTS[p]], 4, { firstPrompt: p }));
      }
      assert.deepEqual(parts, together);
    });
  }

  it("a generator forgets what the completions before held", async () => {
    const generator = createGenerator(policy, ALL_ON);
    const request = { prompts: PROMPTS, groupSize: 4, seed: 11, step: 3 };
    await generator.generate({ ...request, step: 2 });
    const second = await generator.generate(request);
    generator.dispose();
    assert.deepEqual(second, await generate(ALL_ON));
  });

  it("min_p 0 and repetition_penalty 1 are the same as neither", async () => {
    const off = { ...OPTIONS, minP: 0, repetitionPenalty: 1 };
    assert.deepEqual(await generate(off), await generate(OPTIONS));
  });

  it("min_p 1 leaves the likeliest token alone: greedy decoding", async () => {
    const greedy = await generate({ ...OPTIONS, temperature: 0 });
    assert.deepEqual(await generate({ ...OPTIONS, minP: 1 }), greedy);
  });

  it("a large repetition_penalty makes repeated tokens rare, one below 1 makes them common", async () => {
    const newTokens = async (repetitionPenalty: number) => {
      const completions = await generate({ ...OPTIONS, eosIds: [], repetitionPenalty }, PROMPTS, 8);
      const fresh = completions.map(({ tokens }, r) => {
        const prompt = PROMPTS[Math.floor(r / 8)];
        return tokens.filter((token, t) => ![...prompt, ...tokens.slice(0, t)].includes(token)).length;
      });
      return fresh.reduce((sum, count) => sum + count, 0) / (completions.length * OPTIONS.maxTokens);
    };
    const [rarely, plainly, often] = [await newTokens(20), await newTokens(1), await newTokens(0.2)];
    assert.ok(rarely > plainly && plainly > often, `share of new tokens ${rarely}, ${plainly}, ${often}`);
  });

  it("any of many end tokens ends a completion", async () => {
    const eosIds = [2, 11, 29, 47, 58];
    const completions = await generate({ ...OPTIONS, eosIds, maxTokens: 30 }, PROMPTS, 20);
    const ends = new Set<number>();
    for (const { tokens, end } of completions) {
      const last = tokens.length - 1;
      assert.equal(tokens.findIndex((token) => eosIds.includes(token)), end === "eos" ? last : -1);
      if (end === "eos") ends.add(tokens[last]);
    }
    assert.deepEqual([...ends].sort((a, b) => a - b), eosIds);
  });

  it("a completion that has ended stays as it is while others go on", async () => {
    const options = { ...ALL_ON, eosIds: [2, 11, 29], maxTokens: 30 };
    const atOnce = await generate({ ...options, readbackEvery: 30 });
    assert.deepEqual(await generate({ ...options, readbackEvery: 1 }), atOnce);
  });
});
