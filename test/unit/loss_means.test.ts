/** Boundaries of clipping, and what is logged of a step's completions. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { clipBounds, completionLosses, grpoLossF64, type TokenLossConfig } from "../../src/rl/loss.ts";
import { lossMeans } from "../../src/rl/loss_means.ts";
import { CLIPPED_RATIO, GAMMA_WEIGHTED, SOFT_GATE, WEIGHTED_LOGPROB } from "../../src/rl/policy_terms.ts";
import { sequenceWeights } from "../../src/rl/loss_weights.ts";

const config: TokenLossConfig = {
  loss_type: "grpo",
  importance_sampling_level: "token",
  beta: 0,
  epsilon: 0.2,
  epsilon_high: null,
  delta: null,
  use_bias_correction_kl: false,
  sapo_temperature_neg: 1.05,
  sapo_temperature_pos: 1,
};

/** A completion of one token whose ratio is exp(difference). */
function token(difference: number, advantage: number, of: Partial<TokenLossConfig>) {
  const inputs = { logprobs: [difference], oldLogprobs: [0], refLogprobs: null, advantage };
  return completionLosses(inputs, { ...config, ...of })[0]!;
}

// 1 - (1 - r) = r without rounding for r in [1/2, 1], as 1 + (r - 1) = r for r in [1, 2].
const DOWN = Math.exp(-0.25);
const UP = Math.exp(0.25);

test("a ratio that is exactly the bound is not clipped, one beyond it is", () => {
  assert.equal(token(-0.25, -1, { epsilon: 1 - DOWN }).clippedLow, false);
  assert.equal(token(-0.2501, -1, { epsilon: 1 - DOWN }).clippedLow, true);
  assert.equal(token(0.25, 1, { epsilon_high: UP - 1 }).clippedHigh, false);
  assert.equal(token(0.2501, 1, { epsilon_high: UP - 1 }).clippedHigh, true);
  assert.equal(token(0.25, 1, { epsilon_high: UP - 1 }).gradient, -UP);
});

test("a ratio counts as clipped only where the advantage pushes it on, not where it pulls it back or is 0", () => {
  for (const advantage of [1, 0.5, 0]) assert.equal(token(-1, advantage, {}).clippedLow, false);
  for (const advantage of [-1, -0.5, 0]) assert.equal(token(1, advantage, {}).clippedHigh, false);
  for (const advantage of [0.5, 1e-3]) {
    assert.equal(token(-1, -advantage, {}).clippedLow, true);
    assert.equal(token(1, advantage, {}).clippedHigh, true);
  }
});

test("a ratio of exactly delta still has its gradient", () => {
  assert.equal(token(0.25, -2, { epsilon: 0.1, delta: UP }).gradient, 2 * UP);
  assert.equal(token(0.2501, -2, { epsilon: 0.1, delta: UP }).gradient, 0);
});

test("clipBounds() has epsilon on both sides, epsilon_high above alone, and no lower bound for cispo", () => {
  const open = { low: -Infinity, high: Infinity, delta: Infinity, gatePos: 1, gateNeg: 1 };
  assert.deepEqual(clipBounds({ ...config, epsilon: 0.25 }), { ...open, low: 0.75, high: 1.25 });
  const high = { ...config, epsilon: 0.25, epsilon_high: 0.5, delta: 4 };
  assert.deepEqual(clipBounds(high), { ...open, low: 0.75, high: 1.5, delta: 4 });
  assert.deepEqual(clipBounds({ ...high, loss_type: "cispo" }), { ...open, high: 0.5 });
  const gated = { ...high, loss_type: "sapo" as const, sapo_temperature_pos: 3, sapo_temperature_neg: 7 };
  assert.deepEqual(clipBounds(gated), { ...open, gatePos: 3, gateNeg: 7 });
});

test("without beta there is no KL, whatever the reference says", () => {
  const inputs = { logprobs: [-1], oldLogprobs: [-1], refLogprobs: [-3], advantage: 0.5 };
  const [loss] = completionLosses(inputs, config);
  assert.deepEqual([loss!.kl, loss!.gradient], [0, -0.5]);
});

test("grpoLossF64() counts clipped tokens and KL of each completion", () => {
  const { completions } = grpoLossF64({
    logprobs: [-1, -1, -1, -1],
    oldLogprobs: [0, 0, -1, -2],
    refLogprobs: [-1, -1, -1, -2],
    advantages: [-1, 1],
    completionMask: [1, 1, 1, 1],
    weights: [0.5, 0.5],
  }, { ...config, beta: 0.1 });
  // Ratios 1/e twice with A < 0; then 1 and e with A > 0. k3 of a token 1 below the policy: e^-1 + 1 - 1.
  assert.deepEqual(completions, [
    { tokens: 2, kl: 0, clippedLow: 2, clippedHigh: 0, sequenceWeight: 1 },
    { tokens: 2, kl: Math.expm1(-1) + 1, clippedLow: 0, clippedHigh: 1, sequenceWeight: 1 },
  ]);
});

test("lossMeans() of tokens weighs every token alike, and its extremes are shares of a completion", () => {
  const stats = [
    { tokens: 4, kl: 0.75, clippedLow: 1, clippedHigh: 2, sequenceWeight: 0.25 },
    { tokens: 2, kl: 0.75, clippedLow: 1, clippedHigh: 0, sequenceWeight: 0.5 },
    { tokens: 0, kl: 0, clippedLow: 0, clippedHigh: 0 },
  ];
  assert.deepEqual(lossMeans(stats, "token"), {
    kl: 0.25,
    clipRatioLow: 2 / 6,
    clipRatioHigh: 2 / 6,
    clipRatioRegion: 4 / 6,
    clipRatioLowMin: 1 / 4,
    clipRatioHighMax: 1 / 2,
    sequenceWeight: (0.25 + 0.5 + 1) / 3, // one without tokens has weight 1
  });
});

test("lossMeans() of sequences weighs every completion alike, one left out of the loss included", () => {
  const stats = [
    { tokens: 1, kl: 0.5, clippedLow: 1, clippedHigh: 0 },
    { tokens: 3, kl: 0.5, clippedLow: 0, clippedHigh: 3 },
    { tokens: 4, kl: 0, clippedLow: 0, clippedHigh: 4 },
    { tokens: 0, kl: 0, clippedLow: 0, clippedHigh: 0 },
  ];
  const means = lossMeans(stats, "sequence");
  assert.deepEqual([means.clipRatioLow, means.clipRatioHigh, means.clipRatioRegion], [0.25, 0.5, 0.75]);
  assert.deepEqual([means.kl, means.clipRatioLowMin, means.clipRatioHighMax], [1 / 8, 0, 1]);
});

test("a single completion of a single token is its own mean", () => {
  const one = [{ tokens: 1, kl: 0.5, clippedLow: 1, clippedHigh: 0 }];
  for (const level of ["token", "sequence"] as const) {
    const { kl, clipRatioLow, clipRatioLowMin } = lossMeans(one, level);
    assert.deepEqual([kl, clipRatioLow, clipRatioLowMin], [0.5, 1, 1]);
  }
});

test("a step of one active token has weight 1; no tokens are weighed as one", () => {
  const of = (
    lengths: number[],
    type: "dapo" | "bnpo" | "grpo",
  ) => [...sequenceWeights(type, lengths, { microBatchSizes: [2], maxCompletionLength: 8 })];
  for (const lengths of [[1, 0], [0, 0]]) {
    assert.deepEqual(of(lengths, "dapo"), [1, 1]);
    assert.deepEqual(of(lengths, "bnpo"), [1, 1]);
    assert.deepEqual(of(lengths, "grpo"), [0.5, 0.5]);
  }
});

test("bnpo counts the micro-batches of all ranks; dapo the tokens of all ranks where they are given", () => {
  const totals = { microBatchSizes: [1, 1], maxCompletionLength: 8, worldSize: 4 };
  assert.deepEqual([...sequenceWeights("bnpo", [2, 4], totals)], [1 / 16, 1 / 32]);
  assert.deepEqual([...sequenceWeights("dapo", [2, 4], { ...totals, totalTokens: 24 })], [1 / 24, 1 / 24]);
  assert.deepEqual([...sequenceWeights("dr_grpo", [2, 4], totals)], [1 / 64, 1 / 64]);
});

test("each policy term has a branch of the kernel of its own, and logs what it clips", () => {
  const terms = [CLIPPED_RATIO, WEIGHTED_LOGPROB, SOFT_GATE, GAMMA_WEIGHTED];
  assert.deepEqual(terms.map(({ kernelConstants }) => kernelConstants.TERM), [0, 1, 2, 3]);
  const means = {
    kl: 0,
    clipRatioLow: 1,
    clipRatioHigh: 2,
    clipRatioRegion: 3,
    clipRatioLowMin: 4,
    clipRatioHighMax: 5,
    sequenceWeight: 6,
  };
  assert.deepEqual(CLIPPED_RATIO.clipMetrics(means), {
    "clip_ratio/low_mean": 1,
    "clip_ratio/low_min": 4,
    "clip_ratio/high_mean": 2,
    "clip_ratio/high_max": 5,
    "clip_ratio/region_mean": 3,
  });
  assert.deepEqual(WEIGHTED_LOGPROB.clipMetrics(means), { cispo_clip_ratio: 2 });
  assert.deepEqual(SOFT_GATE.clipMetrics(means), {});
  assert.deepEqual(GAMMA_WEIGHTED.clipMetrics(means), { "vespo/phi_seq_mean": 6 });
});
