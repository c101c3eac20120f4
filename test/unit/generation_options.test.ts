import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultConfig } from "../../src/config/schema.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import { singleProcess } from "../../src/parallel/communicator.ts";
import { greedyOptions, samplingOptions } from "../../src/policy/generation_options.ts";
import type { Policy } from "../../src/policy/llama.ts";

const policy = { config: { eosIds: [2, 9] } } as unknown as Policy;
const config = {
  ...sweepRuns(defaultConfig())[0]!,
  temperature: 0.6,
  top_p: 0.8,
  top_k: 40,
  min_p: 0.05,
  repetition_penalty: 1.3,
  max_completion_length: 77,
  readback_every: 5,
  kv_cache_dtype: "float16" as const,
};

test("every sampling key reaches the generation of training", () => {
  assert.deepEqual(samplingOptions(policy, config), {
    temperature: 0.6,
    topP: 0.8,
    topK: 40,
    minP: 0.05,
    repetitionPenalty: 1.3,
    eosIds: [2, 9],
    maxTokens: 77,
    readbackEvery: 5,
    kvCacheDtype: "float16",
  });
  assert.equal(samplingOptions(policy, { ...config, min_p: null }).minP, 0);
});

test("evaluation is greedy, without any key of sampling", () => {
  assert.deepEqual(greedyOptions(policy, config), {
    temperature: 0,
    topP: 1,
    topK: 0,
    eosIds: [2, 9],
    maxTokens: 77,
    readbackEvery: 5,
    kvCacheDtype: "float16",
  });
});

test("a single process is rank 0 of 1, and what it says to itself comes back as it is", async () => {
  assert.deepEqual([singleProcess.rank, singleProcess.size], [0, 1]);
  const values = [1.5, -2];
  const sum = await singleProcess.allReduceSum(values);
  assert.deepEqual(sum, [1.5, -2]);
  assert.notEqual(sum, values, "the caller may write into it");
  assert.equal(await singleProcess.allReduceMax(-3), -3);
  assert.equal(await singleProcess.barrier(), undefined);
});
