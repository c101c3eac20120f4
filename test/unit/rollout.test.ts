/** What sampling is asked for, without a GPU. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Tokenizer } from "../../src/io/tokenizer/tokenizer.ts";
import type { Generator } from "../../src/policy/decode/generate.ts";
import { sampleRollouts } from "../../src/train/rollout.ts";

const tokenizer = { decode: (ids: readonly number[]) => ids.join(" ") } as Tokenizer;
const prompts = [{ user: "a", ids: [1, 5] }, { user: "b", ids: [1] }]
  .map((prompt) => ({ ...prompt, truncated: false, messages: [], columns: {}, layout: "beaver" as const }));

test("random numbers belong to seed, step and prompt slot; a text is without its end token, whatever that is", async () => {
  const asked: unknown[] = [];
  const generator = {
    generate(request) {
      const { prompts, groupSize, seed, step, firstPrompt } = request;
      asked.push({ prompts, groupSize, seed, step, firstPrompt });
      prompts.forEach((_, p) => request.onGroup?.(p, [{ tokens: [7, 2], logprobs: [-1, -0.5], end: "eos" }]));
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
