/** Every setting of generation reaches the generator. */
import assert from "node:assert/strict";
import { it } from "node:test";
import type { RunConfig } from "../../src/config/sweep.ts";
import { greedyOptions, samplingOptions } from "../../src/policy/decode/options.ts";
import type { Policy } from "../../src/policy/trunk.ts";

const POLICY = { config: { eosIds: [2, 7] } } as unknown as Policy;
const SETTINGS = {
  temperature: 0.7,
  top_p: 0.9,
  top_k: 40,
  min_p: 0.05,
  repetition_penalty: 1.2,
  max_completion_length: 33,
  readback_every: 5,
  kv_cache_dtype: "bfloat16",
} as RunConfig;

const GREEDY = {
  temperature: 0,
  topP: 1,
  topK: 0,
  eosIds: [2, 7],
  maxTokens: 33,
  readbackEvery: 5,
  kvCacheDtype: "bfloat16",
};

it("what is trained on is sampled with every sampling option of the settings", () => {
  assert.deepEqual(samplingOptions(POLICY, SETTINGS), {
    ...GREEDY,
    temperature: 0.7,
    topP: 0.9,
    topK: 40,
    minP: 0.05,
    repetitionPenalty: 1.2,
    keepsLogprobs: true,
  });
});

it("without min_p no token is too unlikely", () => {
  assert.equal(samplingOptions(POLICY, { ...SETTINGS, min_p: null }).minP, 0);
});

it("an evaluation is greedy whatever is sampled with, in the cache that was asked for", () => {
  assert.deepEqual(greedyOptions(POLICY, SETTINGS), GREEDY);
});
