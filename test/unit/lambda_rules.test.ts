/** Each rule for lambda over 10,000 batches, and the dual, against plain Python (golden/make/lambda_rules.py). */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  initialLambdaState,
  type LambdaConfig,
  type LambdaState,
  updateLambda,
} from "../../src/rl/lambda.ts";
import { dualLambda } from "../../src/rl/lambda/dual.ts";
import { LAMBDA_RULE_NAMES } from "../../src/rl/lambda/rules.ts";
import { studentQuantile } from "../../src/rl/mean_bound.ts";
import { LAMBDA_CONFIG } from "./lambda_config.ts";

interface Sequence {
  rule: LambdaConfig["lambda_rule"];
  bound: LambdaConfig["cost_bound"];
  lambda: number[];
  j_ema: number[];
  draws_total: number;
}

interface Golden {
  seed: number;
  steps: number;
  kept_every: number;
  costs: number;
  settings: Partial<LambdaConfig> & { lambda_cost: number };
  student: { probability: number; degrees: number; quantile: number }[];
  sequences: Sequence[];
  duals: {
    lambda_max: number;
    solved: { size: number; count: number; beta: number; d: number; lambda: number }[];
    draws_total: number;
  };
}

const GOLDEN: Golden = JSON.parse(
  readFileSync(new URL("../golden/lambda_rules.json", import.meta.url), "utf8"),
);

/** Python's exp and log are another library's: an ulp a step, which the wandering costs forget again. */
const TOLERANCE = 1e-12;

function assertNear(actual: number, expected: number, what: string): void {
  const off = Math.abs(actual - expected) / Math.max(1, Math.abs(expected));
  assert.ok(off <= TOLERANCE, `${what}: ${actual}, Python has ${expected}`);
}

/** The generator of lambda_rules.py. */
function drawsFrom(seed: number) {
  let state = seed;
  let total = 0;
  const unit = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    total += state >>> 0;
    return (state >>> 0) / 2 ** 31 - 1;
  };
  return { units: (count: number) => Array.from({ length: count }, unit), total: () => total };
}

function runSequence({ rule, bound }: Sequence) {
  const { lambda_cost, ...settings } = GOLDEN.settings;
  const config = { ...LAMBDA_CONFIG, ...settings, lambda_rule: rule, cost_bound: bound };
  const draws = drawsFrom(GOLDEN.seed);
  const kept: LambdaState[] = [];
  let state = initialLambdaState(lambda_cost);
  let level = 0;
  for (let step = 1; step <= GOLDEN.steps; step++) {
    level = 0.99 * level + 0.02 * draws.units(1)[0] + 0.01 * (1 - state.lambda);
    const costs = draws.units(GOLDEN.costs).map((unit) => level + unit);
    const { j: _j, jRaw: _jRaw, ...next } = updateLambda(state, { costs }, config);
    // As a checkpoint keeps it.
    state = step % 1000 === 0 ? JSON.parse(JSON.stringify(next)) : next;
    if (step % GOLDEN.kept_every === 0) kept.push(state);
  }
  return { kept, total: draws.total() };
}

for (const sequence of GOLDEN.sequences) {
  test(`${sequence.rule} on the ${sequence.bound} is the rule as Python has it, over ${GOLDEN.steps} batches`, () => {
    const { kept, total } = runSequence(sequence);
    assert.equal(total, sequence.draws_total, "the sequences are others than those of lambda_rules.py");
    kept.forEach(({ lambda, jEma }, i) => {
      assertNear(lambda, sequence.lambda[i], `lambda ${i}`);
      assertNear(jEma!, sequence.j_ema[i], `average ${i}`);
    });
  });
}

test("each rule has such a sequence, but for one_shot, which the dual stands for", () => {
  const named = new Set(GOLDEN.sequences.map(({ rule }) => rule));
  assert.deepEqual(LAMBDA_RULE_NAMES.filter((name) => !named.has(name)), ["one_shot"]);
});

test("one_shot's dual is solved as Python solves it: at 0, at lambda_max, and between", () => {
  const draws = drawsFrom(GOLDEN.seed);
  const { solved, lambda_max } = GOLDEN.duals;
  solved.forEach(({ size, count, beta, lambda }, i) => {
    const d = 0.5 * draws.units(1)[0];
    const rewards: number[] = [];
    const costs: number[] = [];
    for (let group = 0; group < count; group++) {
      rewards.push(...draws.units(size));
      costs.push(...draws.units(size));
    }
    const scored = { rewards, costs, groupSize: size };
    const found = dualLambda(scored, { beta, cost_threshold_d: d, lambda_max });
    // Where the dual is nearly flat its slope's rounding, 1e-16, moves the root by that over the curvature.
    const off = Math.abs(found - lambda) / Math.max(1, lambda);
    assert.ok(off <= 1e-9, `dual ${i}: ${found}, Python has ${lambda}`);
  });
  assert.equal(draws.total(), GOLDEN.duals.draws_total);
  assert.ok(solved.some(({ lambda }) => lambda === 0) && solved.some(({ lambda }) => lambda > 9.99));
});

test("dualLambda() refuses what is not whole, and scores that are not finite", () => {
  const settings = { beta: 1, cost_threshold_d: 0, lambda_max: 5 };
  const refused = [
    { rewards: [], costs: [], groupSize: 2 },
    { rewards: [1, 2], costs: [1], groupSize: 2 },
    { rewards: [1, 2, 3], costs: [1, 2, 3], groupSize: 2 },
  ];
  for (const scored of refused) assert.throws(() => dualLambda(scored, settings), /whole groups of 2/);
  const missing = { rewards: [1, NaN], costs: [1, 2], groupSize: 2 };
  assert.throws(() => dualLambda(missing, settings), /finite rewards and costs/);
});

test("Student's quantiles are those of the finite sums of Abramowitz and Stegun", () => {
  for (const { probability, degrees, quantile } of GOLDEN.student) {
    const found = studentQuantile(probability, degrees);
    const off = Math.abs(found - quantile) / quantile;
    assert.ok(off <= 1e-11, `${probability} of ${degrees}: ${found}, not ${quantile}`); // sums of up to 1000 terms
  }
});
