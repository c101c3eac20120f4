/** What policy terms are multiplied by. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { completionLosses, type TokenLossConfig } from "../../src/rl/loss.ts";
import {
  hasPolicyWeights,
  type PolicyWeightsConfig,
  policyWeightsF64,
  type PolicyWeightsInputs,
} from "../../src/rl/policy_weights.ts";

const config: PolicyWeightsConfig = {
  loss_type: "grpo",
  off_policy_mask_threshold: null,
  vespo_k_pos: 2,
  vespo_lambda_pos: 3,
  vespo_k_neg: 1,
  vespo_lambda_neg: 0.5,
};
const inputs: PolicyWeightsInputs = {
  logprobs: [-1, -2],
  oldLogprobs: [-1, -2],
  samplerLogprobs: [-0.75, -1.75],
  samplerWeights: null,
  tokenMask: null,
  advantage: -1,
};

test("a completion whose tokens became less likely counts no more, unless it was better than its group", () => {
  const kept = (threshold: number | null, advantage: number) =>
    policyWeightsF64({ ...inputs, advantage }, { ...config, off_policy_mask_threshold: threshold }).weights;
  // Of each token 0.25 nats less likely than when it was sampled.
  assert.deepEqual(kept(0.2, -1), [0, 0]);
  assert.deepEqual(kept(0.25, -1), [1, 1], "at the threshold it counts");
  assert.deepEqual(kept(0.2, 0), [1, 1]);
  assert.deepEqual(kept(0.2, 1), [1, 1]);
  assert.deepEqual(kept(null, -1), [1, 1]);
});

test("the weight of vespo is 1 at a ratio of 1 and falls on both sides, by the sign of the advantage", () => {
  const phi = (difference: number, advantage: number) =>
    policyWeightsF64(
      { ...inputs, oldLogprobs: [-1 - difference, -2], advantage },
      { ...config, loss_type: "vespo" },
    ).sequenceWeight;
  assert.equal(phi(0, 1), 1);
  assert.equal(phi(0, -1), 1);
  const near = (actual: number, expected: number) =>
    assert.ok(Math.abs(actual - expected) < 1e-12, `${actual}`);
  // exp(3 + 2 ln(2) - 3 * 2), and with k = 1 and lambda = 1/2.
  near(phi(Math.log(2), 1), 4 * Math.exp(-3));
  near(phi(Math.log(2), -1), 2 * Math.exp(-0.5));
  near(phi(-Math.log(2), 0), Math.exp(1.5) / 4);
  assert.equal(phi(1000, 1), 0, "a ratio beyond every bound");
});

test("vespo takes the sampler's ratio into its own, and multiplies by no other", () => {
  const given = { ...inputs, samplerWeights: [2, 1] };
  const made = policyWeightsF64(given, { ...config, loss_type: "vespo" });
  const once = policyWeightsF64(
    { ...inputs, oldLogprobs: [-1 - Math.log(2), -2] },
    { ...config, loss_type: "vespo" },
  );
  assert.ok(Math.abs(made.sequenceWeight - once.sequenceWeight) < 1e-12);
  assert.deepEqual(made.weights, [made.sequenceWeight, made.sequenceWeight]);
  assert.deepEqual(policyWeightsF64(given, config).weights, [2, 1], "others multiply by it");
});

test("a mask of tokens leaves out theirs", () => {
  const masked = { ...inputs, samplerWeights: [2, 3], tokenMask: [0, 1] };
  assert.deepEqual(policyWeightsF64(masked, config).weights, [0, 3]);
});

test("a loss type that is nothing without its weights refuses to go without them", () => {
  const loss: TokenLossConfig = {
    loss_type: "vespo",
    importance_sampling_level: "token",
    beta: 0,
    epsilon: 0.2,
    epsilon_high: null,
    delta: null,
    use_bias_correction_kl: false,
    sapo_temperature_neg: 1.05,
    sapo_temperature_pos: 1,
  };
  const of = { logprobs: [-1], oldLogprobs: [-1], refLogprobs: null, advantage: 2 };
  assert.throws(() => completionLosses(of, loss), /loss_type "vespo" needs tokenWeights, got none/);
  assert.deepEqual(completionLosses({ ...of, tokenWeights: [0.5] }, loss)[0]!.gradient, -1);
  assert.deepEqual(
    [hasPolicyWeights(config), hasPolicyWeights({ ...config, loss_type: "vespo" })],
    [false, true],
  );
  assert.ok(hasPolicyWeights({ ...config, off_policy_mask_threshold: 0.1 }));
});
