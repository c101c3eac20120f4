/** Cost functions of a program that are constraints: what becomes of them in the settings. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type CostFunction, withConstraints } from "../../src/library/judging.ts";

const score = () => [0];
const cost = (name: string, constraint?: CostFunction["constraint"]): CostFunction => ({
  name,
  score,
  constraint,
});

test("each constraint is an entry of costs, with the settings of its own; other functions are none", () => {
  const costs = [
    cost("harm", true),
    cost("watched"),
    cost("tone", { cost_threshold_d: 1, lambda_rule: "pid" }),
  ];
  assert.deepEqual(withConstraints("train()", { seed: 1 }, { costs }), {
    seed: 1,
    costs: [{ name: "harm" }, { name: "tone", cost_threshold_d: 1, lambda_rule: "pid" }],
  });
});

test("without constraints the settings stay as they are, and so does the sum of the functions", () => {
  const settings = { seed: 1 };
  assert.equal(withConstraints("train()", settings, { costs: [cost("harm")] }), settings);
});

test("costs that the settings name too are refused", () =>
  assert.throws(
    () => withConstraints("train()", { costs: [{ name: "harm" }] }, { costs: [cost("tone", true)] }),
    /RangeError: train\(\): costs of config are also named by constraints of cost functions \(tone\); leave one/,
  ));
