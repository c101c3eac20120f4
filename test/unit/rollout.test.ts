/** What sampling is asked for, without a GPU. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import type { Generator } from "../../src/policy/decode/generate.ts";
import { findStopIn, sampleRollouts } from "../../src/train/rollout.ts";

const tokenizer = { decode: (ids: readonly number[]) => ids.join(" ") } as Tokenizer;
const prompts = [{ user: "a", ids: [1, 5] }, { user: "b", ids: [1] }]
  .map((prompt) => ({ ...prompt, truncated: false, messages: [], columns: {}, layout: "beaver" as const }));

test("random numbers belong to seed, step and prompt slot; a text is without its end token, whatever that is", async () => {
  const asked: unknown[] = [];
  const generator = {
    generate(request) {
      const { prompts, groupSize, seed, step, firstPrompt } = request;
      asked.push({ prompts, groupSize, seed, step, firstPrompt });
      prompts.forEach((_, p) =>
        request.onGroup?.(p, [{ tokens: [7, 2], logprobs: [-1, -0.5], end: "eos" }], p)
      );
      return Promise.resolve([]);
    },
  } as Pick<Generator, "generate">;
  const config = { num_generations: 1, seed: 9, stop_strings: [] };
  for (const place of [{ step: 1, firstPrompt: 0 }, { step: 5, firstPrompt: 2 }]) {
    const rollouts = await sampleRollouts(generator, tokenizer, { prompts, config, ...place });
    assert.deepEqual(rollouts.map(({ prompt, text }) => [prompt.user, text]), [["a", "7"], ["b", "7"]]);
    assert.deepEqual(rollouts.map(({ logprobs }) => logprobs), [[-1, -0.5], [-1, -0.5]]);
  }
  const ids = [[1, 5], [1]];
  assert.deepEqual(asked, [
    { prompts: ids, groupSize: 1, seed: 9, step: 1, firstPrompt: 0 },
    { prompts: ids, groupSize: 1, seed: 9, step: 5, firstPrompt: 2 },
  ]);
});

/** Tokens are bytes; as SentencePiece's, a text loses a space at its beginning, wherever that is. */
const bytes = {
  decode: (ids: readonly number[]) => new TextDecoder().decode(Uint8Array.from(ids)).replace(/^ /, ""),
};
const WORDS = ["USER:", " USER", ":", "é", "漢", " ", "a", "US", "stop", "##"];

test("a stop string ends a completion at the same token however often it was looked for, and wherever looks fall", () => {
  const words = fc.array(fc.constantFrom(...WORDS), { minLength: 20, maxLength: 120 });
  const looks = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 12 });
  fc.assert(fc.property(words, looks, fc.subarray(["USER:", "##", "漢 é", "opUS"]), (words, looks, stops) => {
    const tokens = [...new TextEncoder().encode(words.join(""))];
    const holds = (count: number) =>
      stops.some((stop) => bytes.decode(tokens.slice(0, count)).includes(stop));
    const first = tokens.findIndex((_, i) => holds(i + 1)) + 1 || null;
    const findStop = findStopIn(bytes, stops);
    let seen = 0;
    for (let look = 0; seen < tokens.length; look++) {
      const count = Math.min(tokens.length, seen + looks[look % looks.length]);
      const kept = findStop(tokens.slice(0, count), seen);
      assert.equal(kept, first !== null && first <= count ? first : null);
      if (kept !== null) return;
      seen = count;
    }
  }));
});

test("a look at a long completion reads its end, not the whole again", () => {
  let most = 0;
  const counting = {
    decode(ids: readonly number[]) {
      most = Math.max(most, ids.length);
      return bytes.decode(ids);
    },
  };
  const findStop = findStopIn(counting, ["USER:"]);
  const tokens = [...new TextEncoder().encode("ab ".repeat(500))];
  for (let seen = 0; seen + 16 <= tokens.length; seen += 16) findStop(tokens.slice(0, seen + 16), seen);
  assert.ok(most <= 64, `${most} tokens at once`);
});
