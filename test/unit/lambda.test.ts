import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import {
  combineScores,
  initialLambdaState,
  type LambdaConfig,
  type LambdaState,
  updateLambda,
} from "../../src/rl/lambda.ts";
import { LAMBDA_CONFIG } from "./lambda_config.ts";

const config = LAMBDA_CONFIG;

/** A step by a batch whose mean cost is this. */
const updateBy = (state: LambdaState, meanCost: number, settings: LambdaConfig) =>
  updateLambda(state, { costs: [meanCost] }, settings);

function near(actual: number, expected: number): void {
  assert.ok(
    Math.abs(actual - expected) <= 1e-12 * Math.max(1, Math.abs(expected)),
    `${actual} != ${expected}`,
  );
}

test("updateLambda() matches the rule worked by hand over two batches", () => {
  // Batch 1: J = 1.5 + 0.5 = 2 starts the average; lambda = 1 * e^(0.1 * 2).
  const first = updateBy(initialLambdaState(1), 1.5, config);
  near(first.jRaw, 2);
  near(first.jEma, 2);
  near(first.lambda, Math.exp(0.2));
  // Batch 2: J_raw = -2.5 + 0.5 = -2 counts as 0; J_ema = 0.9 * 2 = 1.8; lambda = e^(0.2 + 0.18).
  const second = updateBy(first, -2.5, config);
  near(second.jRaw, -2);
  near(second.j, 0);
  near(second.jEma, 1.8);
  near(second.lambda, Math.exp(0.38));
  assert.equal(second.updates, 2);
});

test("updateLambda() lets lambda fall only in the signed mode", () => {
  const signed = updateBy(initialLambdaState(1), -2.5, { ...config, lambda_pos_cost_only: false });
  near(signed.lambda, Math.exp(-0.2));
  fc.assert(fc.property(fc.double({ min: -50, max: 50, noNaN: true }), (meanCost) => {
    assert.ok(updateBy(initialLambdaState(1), meanCost, config).lambda >= 1);
  }));
});

test("updateLambda() keeps lambda within its bounds, even from 0", () => {
  assert.equal(updateBy(initialLambdaState(1), 1e6, config).lambda, 5);
  assert.equal(updateBy(initialLambdaState(0), 0, config).lambda, 1e-4);
});

test("updateLambda() with lambda_adapt false leaves lambda alone and still reports J", () => {
  const update = updateBy(initialLambdaState(0.3), 1, { ...config, lambda_adapt: false });
  assert.equal(update.lambda, 0.3);
  near(update.jEma, 1.5);
});

test("updateLambda() refuses a mean cost that is not finite and changes nothing", () => {
  const state = Object.freeze(initialLambdaState(1));
  for (const meanCost of [NaN, Infinity, -Infinity]) {
    assert.throws(() => updateBy(state, meanCost, config), RangeError);
  }
});

test("a state that went through JSON goes on bit for bit", () => {
  const { lambda, jEma, updates } = updateBy(initialLambdaState(1), 0.37, config);
  const restored = JSON.parse(JSON.stringify({ lambda, jEma, updates }));
  assert.deepEqual(
    updateBy(restored, 0.11, config),
    updateBy({ lambda, jEma, updates }, 0.11, config),
  );
});

test("combineScores() is R - lambda * C and needs lists of one length", () => {
  assert.deepEqual([...combineScores([1, 2], [3, -4], 0.5)], [-0.5, 4]);
  assert.throws(() => combineScores([1, 2], [3], 0.5), /got 1 and 2/);
});

test("the moving average takes 1 - jc_ema_beta of every new J, whatever its sign", () => {
  const signed = { ...config, lambda_pos_cost_only: false };
  const first = updateBy(initialLambdaState(1), 1.5, signed); // J = 2
  const second = updateBy(first, 3.5, signed); // J = 4: 0.9 * 2 + 0.1 * 4 = 2.2
  near(second.jEma, 2.2);
  near(second.lambda, Math.exp(0.2 + 0.22));
  near(updateBy(second, -2.5, signed).jEma, 0.9 * 2.2 - 0.1 * 2);
});

test("an average of 0 is an average, and not the beginning of one", () => {
  near(updateBy({ lambda: 1, jEma: 0, updates: 3 }, 1.5, config).jEma, 0.2);
});

test("lambda 0 starts its way up from 1e-12 where lambda_min allows it", () => {
  const { lambda } = updateBy(initialLambdaState(0), -0.5, { ...config, lambda_min: 1e-30 });
  assert.ok(Math.abs(lambda / 1e-12 - 1) < 1e-9, `${lambda}`);
});
