import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { completionLosses, grpoLossF64, type LossInputs, type TokenLossConfig } from "../../src/rl/loss.ts";
import { lossMeans } from "../../src/rl/loss_means.ts";
import { LOSS_TYPE_NAMES, LOSS_TYPES, type LossType } from "../../src/rl/loss_types.ts";
import { sequenceWeights } from "../../src/rl/loss_weights.ts";

const config: TokenLossConfig = {
  loss_type: "grpo",
  importance_sampling_level: "token",
  beta: 0.05,
  epsilon: 0.2,
  epsilon_high: null,
  delta: null,
  use_bias_correction_kl: false,
  sapo_temperature_neg: 1.05,
  sapo_temperature_pos: 1,
};

/** Loss of a completion of one token with the given ratio. */
function tokenLoss(
  logprob: number,
  ratio: number,
  ref: number | null,
  advantage: number,
  of: TokenLossConfig,
) {
  return completionLosses({
    logprobs: [logprob],
    oldLogprobs: [logprob - Math.log(ratio)],
    refLogprobs: ref === null ? null : [ref],
    advantage,
  }, of)[0]!;
}

function assertNear(actual: number, expected: number, tolerance = 1e-12): void {
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} != ${expected}`);
}

test("on policy the ratio is 1: loss -A and gradient -A", () => {
  const token = tokenLoss(-1.5, 1, null, 0.7, { ...config, beta: 0 });
  assertNear(token.loss, -0.7);
  assertNear(token.gradient, -0.7);
  assert.equal(token.clippedLow || token.clippedHigh, false);
});

test("a ratio beyond the clip range stops the gradient only where it would go on moving away", () => {
  const off = { ...config, beta: 0 };
  const up = 1.5, down = 0.5;
  // A > 0, ratio 1.5: loss -1.2 A, no gradient.
  assertNear(tokenLoss(-1, up, null, 2, off).loss, -2.4);
  assert.equal(tokenLoss(-1, up, null, 2, off).gradient, 0);
  assert.equal(tokenLoss(-1, up, null, 2, off).clippedHigh, true);
  // A < 0, ratio 1.5: not clipped, gradient -1.5 A pulls it back.
  assertNear(tokenLoss(-1, up, null, -2, off).gradient, 3);
  // A < 0, ratio 0.5: loss 0.8 * 2, no gradient.
  assertNear(tokenLoss(-1, down, null, -2, off).loss, 1.6);
  assert.equal(tokenLoss(-1, down, null, -2, off).clippedLow, true);
  assert.equal(tokenLoss(-1, down, null, -2, off).gradient, 0);
  // epsilon_high moves the upper bound alone.
  assertNear(tokenLoss(-1, up, null, 2, { ...off, epsilon_high: 0.6 }).loss, -3);
});

test("k3 is 0 at the reference, never negative, and matches exp(d) - d - 1", () => {
  assert.equal(tokenLoss(-1, 1, -1, 0, config).kl, 0);
  assertNear(tokenLoss(-2, 1, -1, 0, config).kl, Math.E - 2);
  const logprob = fc.double({ min: -20, max: 0, noNaN: true });
  fc.assert(fc.property(logprob, logprob, (policy, reference) => {
    assert.ok(tokenLoss(policy, 1, reference, 0, config).kl >= 0);
  }));
});

test("beta 0 needs no reference; any other beta refuses to go without one", () => {
  assert.throws(() => tokenLoss(-1, 1, null, 1, config), /needs refLogprobs/);
});

// 2 completions of 3 tokens; the second ends after one. NaN under the mask must not matter.
const batch: LossInputs = {
  logprobs: [-1, -2, -0.5, -0.3, NaN, NaN],
  oldLogprobs: [-1.05, -2.02, -0.9, -0.3, NaN, NaN],
  refLogprobs: [-1.2, -1.8, -0.4, -0.8, NaN, NaN],
  advantages: [1.1, -0.9],
  completionMask: [1, 1, 1, 1, 0, 0],
  weights: sequenceWeights("grpo", [3, 1], { microBatchSizes: [2], maxCompletionLength: 3 }),
};

test("grpoLossF64() is the mean over completions of their mean token loss", () => {
  const token = (i: number, advantage: number) => {
    const ratio = Math.exp(batch.logprobs[i]! - batch.oldLogprobs[i]!);
    return tokenLoss(batch.logprobs[i]!, ratio, batch.refLogprobs![i]!, advantage, config).loss;
  };
  const expected = ((token(0, 1.1) + token(1, 1.1) + token(2, 1.1)) / 3 + token(3, -0.9)) / 2;
  const { loss, completions } = grpoLossF64(batch, config);
  assertNear(loss, expected);
  // Token 2 has ratio e^0.4 > 1.2 with A > 0: one of four tokens, one of the three of its completion.
  const means = lossMeans(completions, "token");
  assert.deepEqual([means.clipRatioHigh, means.clipRatioLow, means.clipRatioRegion], [0.25, 0, 0.25]);
  assert.deepEqual([means.clipRatioHighMax, means.clipRatioLowMin], [1 / 3, 0]);
});

test("level sequence gives a completion one ratio: exp of the mean difference", () => {
  const losses = (importance_sampling_level: "token" | "sequence") =>
    completionLosses(
      { logprobs: [-1, -2], oldLogprobs: [-1.5, -2.1], refLogprobs: null, advantage: -1 },
      { ...config, beta: 0, importance_sampling_level },
    ).map(({ loss }) => loss);
  const [first, second] = losses("token");
  assertNear(first!, Math.exp(0.5));
  assertNear(second!, Math.exp(0.1));
  const [whole, same] = losses("sequence");
  assertNear(whole!, Math.exp(0.3));
  assert.equal(whole, same);
  const none = { logprobs: [], oldLogprobs: [], refLogprobs: null, advantage: 1 };
  assert.deepEqual(completionLosses(none, { ...config, beta: 0 }), []);
});

test("with use_bias_correction_kl the on-policy KL gradient is that of reverse KL: logprob - ref", () => {
  const corrected = { ...config, beta: 1, use_bias_correction_kl: true };
  assertNear(tokenLoss(-2, 1, -1.4, 0, corrected).gradient, -2 - -1.4);
  assertNear(tokenLoss(-2, 1, -1.4, 0, corrected).kl, tokenLoss(-2, 1, -1.4, 0, config).kl);
  assertNear(tokenLoss(-2, 1.5, -1.4, 0, corrected).kl, 1.5 * tokenLoss(-2, 1, -1.4, 0, config).kl);
});

test("delta bounds the ratio that pulls a bad token back, and stops its gradient beyond", () => {
  const bounded = { ...config, beta: 0, delta: 2 };
  assertNear(tokenLoss(-1, 1.9, null, -1, bounded).gradient, 1.9);
  assertNear(tokenLoss(-1, 3, null, -1, bounded).loss, 2);
  assert.equal(tokenLoss(-1, 3, null, -1, bounded).gradient, 0);
});

test("cispo weighs the log-prob with the ratio, held constant and bounded by epsilon_high", () => {
  const cispo: TokenLossConfig = { ...config, beta: 0, loss_type: "cispo", epsilon_high: 2 };
  assertNear(tokenLoss(-1.5, 1.2, null, 0.5, cispo).loss, 1.2 * 0.5 * 1.5);
  assertNear(tokenLoss(-1.5, 3, null, 0.5, cispo).gradient, -2 * 0.5);
  assert.equal(tokenLoss(-1.5, 3, null, 0.5, cispo).clippedHigh, true);
  assert.equal(tokenLoss(-1.5, 0.1, null, -0.5, cispo).clippedLow, false);
});

test("sapo closes its gate softly: at a ratio of 1 it is the ratio, beyond it pulls less, by the advantage's sign", () => {
  const sapo: TokenLossConfig = {
    ...config,
    beta: 0,
    loss_type: "sapo",
    sapo_temperature_pos: 1,
    sapo_temperature_neg: 2,
  };
  assertNear(tokenLoss(-1, 1, null, 0.5, sapo).loss, -4 * 0.5 * 0.5);
  assertNear(tokenLoss(-1, 1, null, 0.5, sapo).gradient, -0.5);
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  assertNear(tokenLoss(-1, 1.5, null, 1, sapo).loss, -4 * sigmoid(0.5));
  assertNear(tokenLoss(-1, 1.5, null, -1, sapo).loss, 2 * sigmoid(1));
  assertNear(tokenLoss(-1, 1.5, null, -1, sapo).gradient, 4 * 1.5 * sigmoid(1) * (1 - sigmoid(1)));
  assertNear(tokenLoss(-1, 1.5, null, 0, sapo).loss, 0);
  assert.ok(Number.isFinite(tokenLoss(-1, 1e5, null, -1, sapo).gradient));
});

test("grpoLossF64() has the gradient that finite differences have, with ratios of tokens and of sequences", () => {
  const levels = ["token", "sequence"] as const;
  for (const [level, corrected] of levels.flatMap((level) => [[level, false], [level, true]] as const)) {
    const leveled = { ...config, importance_sampling_level: level, use_bias_correction_kl: corrected };
    const { gradient } = grpoLossF64(batch, leveled);
    const step = 1e-6;
    for (let i = 0; i < 6; i++) {
      const at = (offset: number) =>
        grpoLossF64({
          ...batch,
          logprobs: Array.from(batch.logprobs, (value, j) => (i === j ? value + offset : value)),
        }, leveled).loss;
      assertNear(gradient[i]!, (at(step) - at(-step)) / (2 * step), 1e-8);
    }
    assert.deepEqual([...gradient.slice(4)], [0, 0]);
  }
});

test("sequenceWeights() matches each loss_type worked by hand", () => {
  // Two micro-batches of two completions; 10 active tokens.
  const lengths = [1, 3, 0, 6];
  const totals = { microBatchSizes: [2, 2], maxCompletionLength: 8 };
  const weights = (type: LossType) => [...sequenceWeights(type, lengths, totals)];
  assert.deepEqual(weights("grpo"), [1 / 4, 1 / 12, 1 / 4, 1 / 24]);
  assert.deepEqual(weights("bnpo"), [1 / 8, 1 / 8, 1 / 12, 1 / 12]);
  assert.deepEqual(weights("dr_grpo"), Array(4).fill(1 / 32));
  assert.deepEqual(weights("dapo"), Array(4).fill(1 / 10));
  assert.deepEqual(weights("cispo"), Array(4).fill(1 / 10));
  assert.deepEqual(weights("sapo"), weights("grpo"));
  assert.deepEqual(weights("luspo"), Array(4).fill(1 / 4));
  assert.deepEqual(weights("vespo"), weights("dapo"));
});

test("how the step is cut into micro-batches and ranks changes no weight but bnpo's", () => {
  const lengths = [1, 3, 2, 6];
  for (const type of LOSS_TYPE_NAMES.filter((type) => LOSS_TYPES[type].average !== "micro-batches")) {
    const whole = sequenceWeights(type, lengths, { microBatchSizes: [4], maxCompletionLength: 8 });
    const cut = sequenceWeights(type, lengths, { microBatchSizes: [1, 1, 1, 1], maxCompletionLength: 8 });
    assert.deepEqual(cut, whole);
    const rank = sequenceWeights(type, lengths.slice(2), {
      microBatchSizes: [1, 1],
      maxCompletionLength: 8,
      worldSize: 2,
      totalTokens: 12,
    });
    assert.deepEqual(rank, whole.slice(2));
  }
});

test("a step without any active token has loss 0, means 0 and weights 1, not NaN", () => {
  const { loss, completions } = grpoLossF64({ ...batch, completionMask: Array(6).fill(0) }, config);
  assert.equal(loss, 0);
  for (const level of ["token", "sequence"] as const) {
    assert.deepEqual(Object.values(lossMeans(completions, level)), [0, 0, 0, 0, 0, 0, 1]);
  }
});

test("sequenceWeights() refuses micro-batches that do not add up", () => {
  assert.throws(
    () => sequenceWeights("grpo", [1, 2], { microBatchSizes: [1], maxCompletionLength: 8 }),
    RangeError,
  );
});
