/** Several costs in the settings: what an entry takes from the keys above it, and what contradicts itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { costModelsOf } from "../../src/assembly/judges.ts";
import { constraintsOf, namedRewardsOf } from "../../src/config/constraints.ts";
import { load, problemsOf } from "./loaded_config.ts";

const TWO =
  "costs: [{name: harm, model: /a, lambda_lr: 0.5, cost_threshold_d: 2}, {name: tone, field: style}]\n";

test("an entry of costs has the settings' own value wherever it names none", () => {
  const config = load(`${TWO}cost_model: /c\nlambda_lr: 0.25\nlambda_max: 9\n`);
  const [harm, tone] = constraintsOf(config);
  assert.deepEqual([harm.name, harm.field, harm.model], ["harm", "harm", "/a"]);
  assert.deepEqual([tone.name, tone.field, tone.model], ["tone", "style", "/c"]);
  const of = (
    { settings }: typeof harm,
  ) => [settings.lambda_lr, settings.cost_threshold_d, settings.lambda_max];
  assert.deepEqual([of(harm), of(tone)], [[0.5, 2, 9], [0.25, 0, 9]]);
});

test("the label of the settings is that of cost_model, and of no other model", () => {
  const entries =
    "costs: [{name: a}, {name: b, model: /b}, {name: c, model: /b, label: bad}]\ncost_label: 1\n";
  assert.deepEqual(constraintsOf(load(entries)).map(({ label }) => label), [1, null, "bad"]);
});

test("without costs there is one, without a name, by the settings themselves", () => {
  const config = load("lambda_lr: 0.25\n");
  const [{ name, field, settings }, ...more] = constraintsOf(config);
  assert.deepEqual([name, field, settings, more], [null, null, config, []]);
  assert.equal(namedRewardsOf(config), null);
});

test("a reward weighs 1 unless it says more", () => {
  const config = load("rewards: [{name: help}, {name: style, weight: 0, field: s}]\n");
  assert.deepEqual(namedRewardsOf(config), [
    { name: "help", field: "help", weight: 1 },
    { name: "style", field: "s", weight: 0 },
  ]);
});

test("two costs of one score model are refused where score models judge", () => {
  assert.deepEqual(costModelsOf(load(TWO)).map(({ name, model }) => [name, model]), [
    ["harm", "/a"],
    ["tone", "models/quickstart/cost"],
  ]);
  assert.throws(
    () => costModelsOf(load("costs: [{name: a}, {name: b}]")),
    /RangeError: costs: a and b are both the score of models\/quickstart\/cost; give one of them a model of its own/,
  );
});

test("~ in the model of an entry is the home folder", () => {
  const config = load("costs: [{name: a, model: ~/a}]\n", { homeDir: "/h" });
  assert.equal(constraintsOf(config)[0].model, "/h/a");
});

for (
  const [text, problem] of [
    ["costs: []", /run\.yaml:1:1: costs must be a non-empty list of \{name: NAME\} with different names/],
    ["costs: [{name: a, model: /a}, {name: a}]", /costs must be a non-empty list/],
    ["costs: [{name: a/b}]", /costs must be a non-empty list/],
    [
      "costs: [{name: a, limit: 1}]",
      /each with any of the keys name, field, model, label, .*cost_threshold_d/,
    ],
    ["costs: [{name: a, lambda_max: -1}]", /costs must be/],
    [
      "costs: [{name: a, model: /a}]\nscorer_url: http://a:1",
      /costs: a names its score model, and none is served in this process/,
    ],
    [
      "costs: [{name: a, lambda_min: 2, lambda_max: 1, lambda_cost: 2}]",
      /costs, a: lambda_min must not exceed lambda_max, got 2 > 1/,
    ],
    ["costs: [{name: a, lambda_cost: 9}]", /costs, a: lambda_cost must lie between/],
    [
      "costs: [{name: f}]\ncost_functions: [a.ts#f:2]",
      /cost_functions: "a\.ts#f:2" has a weight, and with costs set lambda weighs each cost; remove it/,
    ],
    [
      "rewards: [{name: f}]\nreward_functions: [a.ts#f:2]",
      /reward_functions: "a\.ts#f:2" has a weight, and with rewards set weights stand there/,
    ],
    [
      "advantage_composition: gdpo\nscale_rewards: batch",
      /advantage_composition "gdpo" standardizes in the group, .* got scale_rewards "batch"/,
    ],
  ] as const
) {
  test(`"${text.replaceAll("\n", ", ")}" is refused`, () =>
    assert.match(problemsOf(text).join("\n"), problem));
}
