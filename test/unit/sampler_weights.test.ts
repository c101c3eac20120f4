/** What is made of a sampler that is not quite the trainer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import {
  IMPORTANCE_SAMPLING_MODES,
  joinSamplerMeans,
  samplerMeans,
  samplerMetrics,
  type SamplerWeightsConfig,
  samplerWeightsF64,
} from "../../src/rl/sampler_weights.ts";
import { samplerWarning } from "../../src/train/sampler_warning.ts";

const config = (
  importance_sampling_mode: SamplerWeightsConfig["importance_sampling_mode"],
  low: number | null = null,
  high: number | null = 3,
): SamplerWeightsConfig => ({
  importance_sampling_mode,
  importance_sampling_clip_min: low,
  importance_sampling_clip_max: high,
});

// Ratios 2, 1/4 and 1 of the tokens, 1/2 of the whole.
const TRAINER = [-1 + Math.log(2), -1 - Math.log(4), -1];
const SAMPLER = [-1, -1, -1];
const weightsOf = (of: SamplerWeightsConfig) =>
  samplerWeightsF64(TRAINER, SAMPLER, of).weights.map((weight) => Number(weight.toFixed(12)));

test("a token's ratio is cut at the bounds, or 0 beyond them; a completion's is the product of its tokens'", () => {
  assert.deepEqual(weightsOf(config("token_truncate")), [2, 0.25, 1]);
  assert.deepEqual(weightsOf(config("token_truncate", 0.5, 1.5)), [1.5, 0.5, 1]);
  assert.deepEqual(weightsOf(config("token_mask", 0.5, 1.5)), [0, 0, 1]);
  assert.deepEqual(weightsOf(config("token_mask", null, null)), [2, 0.25, 1]);
  assert.deepEqual(weightsOf(config("sequence_truncate")), [0.5, 0.5, 0.5]);
  assert.deepEqual(weightsOf(config("sequence_truncate", 0.75, 3)), [0.75, 0.75, 0.75]);
  assert.deepEqual(weightsOf(config("sequence_mask", null, 0.4)), [0, 0, 0]);
  assert.deepEqual(weightsOf(config("sequence_mask", 0.25, 0.75)), [0.5, 0.5, 0.5]);
});

test("a ratio that is exactly a bound is not masked", () => {
  const two = Math.exp(TRAINER[0] - SAMPLER[0]);
  assert.equal(samplerWeightsF64(TRAINER, SAMPLER, config("token_mask", 0, two)).weights[0], two);
  assert.equal(samplerWeightsF64(TRAINER, SAMPLER, config("token_mask", two, 3)).weights[0], two);
});

test("where sampler and trainer agree every weight is 1, whatever the mode", () => {
  const logprobs = fc.array(fc.double({ min: -20, max: 0, noNaN: true }), { maxLength: 9 });
  fc.assert(fc.property(logprobs, fc.constantFrom(...IMPORTANCE_SAMPLING_MODES), (same, mode) => {
    const { weights, stats } = samplerWeightsF64(same, same, config(mode));
    assert.ok(weights.every((weight) => weight === 1));
    assert.equal(stats.differenceMax, 0);
  }));
});

test("what is logged: differences over tokens; ratios over tokens, or over completions where these have one", () => {
  const [long, short] = [[0.5, -0.25, 0.5, 0.25], [-1]].map((differences) => (of: SamplerWeightsConfig) =>
    samplerWeightsF64(differences, differences.map(() => 0), of).stats
  );
  const none = samplerWeightsF64([], [], config("token_truncate")).stats;
  const means = (of: SamplerWeightsConfig) => samplerMeans([long(of), none, short(of)], of);
  const ofTokens = means(config("token_truncate", 0.5));
  assert.deepEqual([ofTokens.differenceMean, ofTokens.differenceMax], [2.5 / 5, 1]);
  assert.deepEqual([ofTokens.weightMin, ofTokens.weightMax], [0.5, Math.exp(0.5)]);
  const sum = 2 * Math.exp(0.5) + Math.exp(-0.25) + Math.exp(0.25) + 0.5;
  assert.ok(Math.abs(ofTokens.weightMean - sum / 5) < 1e-12);
  const ofSequences = means(config("sequence_truncate", null, 2));
  assert.ok(Math.abs(ofSequences.weightMean - (2 + Math.exp(-1)) / 2) < 1e-12);
  assert.deepEqual(Object.values(samplerMeans([none], config("token_mask"))), [0, 0, 0, 0, 0]);
});

test("of several steps the extremes are those of any, and the means their mean", () => {
  const of = (value: number) => ({
    differenceMean: value,
    differenceMax: value,
    weightMin: value,
    weightMean: value,
    weightMax: value,
  });
  assert.deepEqual(joinSamplerMeans([of(2), of(1), of(6)]), {
    differenceMean: 3,
    differenceMax: 6,
    weightMin: 1,
    weightMean: 3,
    weightMax: 6,
  });
});

test("ratios are logged where they weigh something", () => {
  const means = samplerMeans([samplerWeightsF64([-1], [-1.5], config("token_truncate")).stats], {
    importance_sampling_mode: "token_truncate",
  });
  const difference = { "sampler/logprob_diff_mean": 0.5, "sampler/logprob_diff_max": 0.5 };
  assert.deepEqual(samplerMetrics(means, false), difference);
  const ratio = Math.exp(0.5);
  assert.deepEqual(samplerMetrics(means, true), {
    ...difference,
    "sampler/ratio_min": ratio,
    "sampler/ratio_mean": ratio,
    "sampler/ratio_max": ratio,
  });
});

test("the user is told once that the sampler is off, and not where it rounds", () => {
  const said: string[] = [];
  const warn = samplerWarning(false, (text) => said.push(text));
  warn({ step: 1, "sampler/logprob_diff_max": 0 });
  warn({ step: 2 });
  assert.equal(said.length, 0);
  warn({ step: 3, "sampler/logprob_diff_max": 1.25e-6 });
  warn({ step: 4, "sampler/logprob_diff_max": 1 });
  assert.equal(said.length, 1);
  assert.match(said[0], /at step 3 .* 1\.[23]e-6 nats off/);
  samplerWarning(true, (text) => said.push(text))({ step: 1, "sampler/logprob_diff_max": 1 });
  assert.equal(said.length, 1);
});
