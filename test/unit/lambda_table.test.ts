/** What sets the rules for lambda apart, worked by hand; and what lambda amounts to beside standardised scores. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  combineScores,
  initialLambdaState,
  type LambdaConfig,
  updateLambda,
  weighedCosts,
} from "../../src/rl/lambda.ts";
import { effectiveLambda } from "../../src/rl/lambda/effective.ts";
import { ruleNameOf } from "../../src/rl/lambda/rules.ts";
import { meanUpperBound } from "../../src/rl/mean_bound.ts";
import { LAMBDA_CONFIG } from "./lambda_config.ts";

const near = (actual: number, expected: number) =>
  assert.ok(
    Math.abs(actual - expected) <= 1e-12 * Math.max(1, Math.abs(expected)),
    `${actual} != ${expected}`,
  );

const of = (settings: Partial<LambdaConfig>): LambdaConfig => ({ ...LAMBDA_CONFIG, ...settings });

test("the reference's flags mean rules: lambda_adapt false is fixed, lambda_pos_cost_only false is signed", () => {
  const rule = (settings: Partial<LambdaConfig>) => ruleNameOf(of(settings));
  assert.equal(rule({}), "log_ema");
  assert.equal(rule({ lambda_adapt: false }), "fixed");
  assert.equal(rule({ lambda_adapt: false, lambda_pos_cost_only: false }), "fixed");
  assert.equal(rule({ lambda_pos_cost_only: false }), "signed");
  assert.equal(rule({ lambda_rule: "pid" }), "pid");
});

test("pid is its three parts, worked by hand: what was at the beginning, a rise, and a fall that counts for nothing", () => {
  const config = of({
    lambda_rule: "pid",
    cost_threshold_d: 0,
    jc_ema_beta: 0.5,
    lambda_kp: 0.5,
    lambda_ki: 0.25,
    lambda_kd: 2,
    lambda_d_delay: 2,
    lambda_max: 50,
  });
  // J = 2: P = 1, I = 1 + 0.5, and no rise yet.
  const first = updateLambda(initialLambdaState(1), { costs: [2] }, config);
  near(first.lambda, 1 + 1.5);
  // J = 4: the average is 3; P = 1.5, I = 1.5 + 1, the rise since the first 1.
  const second = updateLambda(first, { costs: [4] }, config);
  near(second.lambda, 1.5 + 2.5 + 2 * 1);
  // J = 7: the average is 5; the rise over two batches 5 - 2.
  const third = updateLambda(second, { costs: [7] }, config);
  near(third.lambda, 2.5 + 4.25 + 2 * 3);
  // J = -15: the average is -5; I falls to 0.5; a fall is no rise. -2.5 + 0.5 is below 0.
  const fourth = updateLambda(third, { costs: [-15] }, config);
  assert.equal(fourth.lambda, 0);
  near(fourth.pid!.integral, 0.5);
  assert.deepEqual(fourth.pid!.averages, [5, -5]);
  // The integral never falls below 0, however long the policy is safe.
  assert.equal(updateLambda(fourth, { costs: [-100] }, config).pid!.integral, 0);
  assert.equal(updateLambda(fourth, { costs: [1e9] }, config).lambda, 50);
});

test("signed falls while costs are within the limit, log_ema stands", () => {
  const costs = [-2.5];
  near(updateLambda(initialLambdaState(1), { costs }, of({ lambda_rule: "signed" })).lambda, Math.exp(-0.2));
  assert.equal(updateLambda(initialLambdaState(1), { costs }, of({})).lambda, 1);
});

test("fixed and one_shot leave lambda alone and report J", () => {
  for (const lambda_rule of ["fixed", "one_shot"] as const) {
    const update = updateLambda(initialLambdaState(0.3), { costs: [1] }, of({ lambda_rule }));
    assert.equal(update.lambda, 0.3);
    near(update.jEma, 1.5);
  }
});

test("per_prompt: safe answers earn nothing more, neither in the score nor in J", () => {
  const config = of({ lambda_rule: "per_prompt" }); // d = 0.5
  const costs = [-9, -0.5, -0.25, 1.5];
  assert.deepEqual(weighedCosts(costs, config), [0, 0, 0.25, 2]);
  // By the mean, -2.06, the batch is safe: log_ema would rest.
  near(updateLambda(initialLambdaState(1), { costs }, config).jRaw, 2.25 / 4);
  assert.equal(updateLambda(initialLambdaState(1), { costs }, of({})).j, 0);
  assert.deepEqual([...combineScores([1, 1, 1, 1], weighedCosts(costs, config), 2)], [1, 1, 0.5, -3]);
  assert.equal(weighedCosts(costs, of({})), costs);
});

test("a pessimistic J is above the mean's by t s / sqrt(n), and nears it with more completions", () => {
  const costs = [0, 1, 2, 3];
  const config = of({ cost_bound: "pessimistic", cost_threshold_d: 0 });
  // t of 0.9 with 3 degrees is 1.637744353696; s^2 = 5/3.
  near(
    updateLambda(initialLambdaState(1), { costs }, config).jRaw,
    1.5 + 1.6377443536962102 * Math.sqrt(5 / 12),
  );
  const often = Array.from({ length: 1000 }, () => costs).flat();
  const above = updateLambda(initialLambdaState(1), { costs: often }, config).jRaw - 1.5;
  assert.ok(above > 0 && above < 0.03, `${above}`);
  assert.equal(meanUpperBound(costs, 0.5), 1.5);
  assert.throws(() => meanUpperBound([1], 0.9), /at least 2 values/);
});

test("the effective lambda is lambda sigma_C / sigma_S, over the groups that teach something", () => {
  const rewards = [1, 3, 0, 0, 5, 5];
  const costs = [0, 4, 7, 7, -1, 1];
  const combined = [...combineScores(rewards, costs, 2)]; // 1, -5 | -14, -14 | 7, 3
  // Group 1: 2 * 2 / 3; group 2 has no spread; group 3: 2 * 1 / 2.
  near(effectiveLambda(2, { costs, combined, groupSize: 2 })!, (4 / 3 + 1) / 2);
  assert.equal(effectiveLambda(2, { costs: [1, 1], combined: [3, 3], groupSize: 2 }), undefined);
  // A spread that is rounding alone is none.
  const rounding = { costs: [0, 4, 0, 4], combined: [-1, -5, 1, 1 + 1e-12], groupSize: 2 };
  near(effectiveLambda(2, rounding)!, 2);
  const missing = { costs: [0, 4, NaN, 1], combined: [-1, -5, NaN, 2], groupSize: 2 };
  near(effectiveLambda(2, missing)!, 2);
});

test("a mean of no costs, or of one that is missing, never reaches lambda", () => {
  for (const lambda_rule of ["log_ema", "pid", "per_prompt", "one_shot"] as const) {
    for (const costs of [[], [1, NaN], [Infinity, 0]]) {
      assert.throws(
        () => updateLambda(initialLambdaState(1), { costs }, of({ lambda_rule })),
        /finite mean cost/,
      );
    }
  }
});
