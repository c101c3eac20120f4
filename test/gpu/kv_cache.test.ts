/** What a KV cache of 16-bit numbers costs in exactness. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { createGenerator } from "../../src/policy/decode/generate.ts";
import { KV_CACHE_FORMAT, type KvCacheDtype } from "../../src/policy/decode/kv_blocks.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import { decodeLogits } from "../parity/decode_logits.ts";
import { tinyPolicy } from "./tiny_policy.ts";

const PROMPTS = [[1, 5, 9, 33], [1, 7], [1, 60, 3, 3, 8, 21, 40, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23]];
const TOKENS = 40;
/** Rounding to nearest moves a value by at most this share of it. */
const ROUNDING: [KvCacheDtype, number][] = [["bfloat16", 2 ** -9], ["float16", 2 ** -12]];

describe("a cache of 16-bit keys and values", () => {
  let policy: Policy;
  before(async () => {
    await openGpu();
    policy = await tinyPolicy();
  });
  after(closeGpu);

  const greedyTokens = async (kvCacheDtype: KvCacheDtype) => {
    const options = { temperature: 0, topP: 1, topK: 0, eosIds: [], maxTokens: TOKENS, readbackEvery: 8 };
    const generator = createGenerator(policy, { ...options, kvCacheDtype });
    const completions = await generator.generate({ prompts: PROMPTS, groupSize: 1, seed: 1, step: 1 });
    generator.dispose();
    return completions.map(({ tokens }) => tokens);
  };

  for (const [kvCacheDtype, rounding] of ROUNDING) {
    it(`${kvCacheDtype}: logits are off by a few roundings`, async () => {
      const tokens = await greedyTokens("float32");
      const exact = await decodeLogits(policy, PROMPTS, tokens);
      const rounded = await decodeLogits(policy, PROMPTS, tokens, KV_CACHE_FORMAT[kvCacheDtype]);
      let [largest, error] = [0, 0];
      exact.forEach((row, t) =>
        row.forEach((logit, i) => {
          largest = Math.max(largest, Math.abs(logit));
          error = Math.max(error, Math.abs(rounded[t][i] - logit));
        })
      );
      // A value off by a rounding moves a sum of values by as much. A key does more: a score of size s moves by s
      // roundings, and so does the share that its value has. Scores are about 5 here, and there are two layers.
      assert.ok(
        error > 0 && error <= 2 * 5 * rounding * largest,
        `off by ${error}, largest logit ${largest}`,
      );
    });

    it(`${kvCacheDtype}: greedy tokens are the same until two logits are nearly equal`, async () => {
      const [exact, rounded] = [await greedyTokens("float32"), await greedyTokens(kvCacheDtype)];
      const logits = await decodeLogits(policy, PROMPTS, exact);
      const vocab = policy.config.vocabSize;
      exact.forEach((tokens, p) => {
        const t = tokens.findIndex((token, t) => token !== rounded[p][t]);
        if (t <= 0) {
          return assert.equal(
            t,
            -1,
            "the first token comes from the prompts' forward pass, which rounds nothing",
          );
        }
        const row = logits[t - 1].subarray(p * vocab, (p + 1) * vocab);
        const largest = Math.max(...logits[t - 1].map(Math.abs));
        const gap = row[tokens[t]] - row[rounded[p][t]];
        assert.ok(gap <= 8 * rounding * largest, `prompt ${p} token ${t}: ${gap} apart, largest ${largest}`);
      });
    });
  }
});
