/** Effects of the group "Lambda": what is logged equals the rule, worked out from the costs that are logged. */
import assert from "node:assert/strict";
import { advantages, type LambdaRule, lambdas, tokenCount } from "./config_by_hand.ts";
import { assertClose, changesNothing, type Effect } from "./config_effect.ts";
import { lastOf, rowsOf, tableOf } from "./config_read.ts";
import { type Ran, scratch, type Settings } from "./config_run.ts";

/** The defaults, with the step size of the base settings. */
const RULE: LambdaRule = {
  lambda_cost: 1,
  lambda_adapt: true,
  cost_threshold_d: 0,
  lambda_lr: 0.1,
  lambda_min: 1e-4,
  lambda_max: 5,
  jc_ema_beta: 0.9,
  lambda_pos_cost_only: true,
};

/** lambda moves up from step to step, or down. */
const RISING = { max_steps: 3, cost_threshold_d: 2 };
const FALLING = { max_steps: 3, cost_threshold_d: -2, lambda_pos_cost_only: false };

function assertFollows(ran: Ran, settings: Settings): void {
  const rows = rowsOf(ran);
  lambdas(rows, { ...RULE, ...settings }).forEach((lambda, i) => {
    const row = rows[i];
    assertClose(row["lambda/value"], lambda, 1e-12, `lambda of step ${row.step}`); // doubles, few operations
    assertClose(
      row["combined/mean"],
      row["helpfulness/mean"]! - lambda * row["cost/mean"]!,
      1e-9,
      "combined",
    );
  });
}

function row(key: keyof LambdaRule, value: number | boolean, given: Settings, seen: string): Effect {
  return {
    key,
    value,
    seen,
    given,
    check(changed, without) {
      assertFollows(changed, { ...given, [key]: value });
      assertFollows(without, given);
      const lastLambda = (ran: Ran) => lastOf(rowsOf(ran))["lambda/value"];
      assert.notEqual(lastLambda(changed), lastLambda(without));
    },
  };
}

export const LAMBDA_EFFECTS: readonly Effect[] = [
  row("lambda_cost", 2, RISING, "lambda begins there"),
  row("lambda_adapt", false, RISING, "lambda stays where it began"),
  row("cost_threshold_d", 0.5, { max_steps: 3, lambda_pos_cost_only: false }, "it is added to the mean cost"),
  row("lambda_lr", 0.3, RISING, "ln(lambda) moves by so much for each unit of the averaged violation"),
  row("lambda_min", 0.7, FALLING, "lambda falls no further"),
  row("lambda_max", 1.3, RISING, "lambda rises no further"),
  row("jc_ema_beta", 0.25, RISING, "the average forgets that much faster"),
  row(
    "lambda_pos_cost_only",
    false,
    { max_steps: 3, cost_threshold_d: -2 },
    "lambda falls while costs are low",
  ),
  {
    key: "costs",
    value: [{ name: "harm", model: scratch("cost"), lambda_cost: 2 }, {
      name: "tone",
      model: scratch("other_cost"),
      cost_threshold_d: 1,
    }],
    seen: "each is scored by its own model, moves a lambda of its own, and is weighed with it",
    given: { ...RISING, scorer_url: null },
    check(changed, without) {
      const rows = rowsOf(changed);
      assert.equal(rows[0]["lambda/value"], undefined);
      for (const [name, rule] of [["harm", { lambda_cost: 2 }], ["tone", { cost_threshold_d: 1 }]] as const) {
        const own = rows.map((row) => ({ ...row, "cost/mean": row[`costs/${name}/mean`] }));
        lambdas(own, { ...RULE, ...RISING, ...rule }).forEach((lambda, i) =>
          assertClose(rows[i][`lambda/${name}/value`], lambda, 1e-12, `lambda of ${name}`)
        );
      }
      tableOf(changed, "train", 1).forEach(({ reward, cost, combined, scores, unsafe }, i) => {
        const [harm, tone] = [scores!["costs/harm"]!, scores!["costs/tone"]!];
        assert.equal(cost, Math.max(harm, tone));
        assert.equal(unsafe, cost > 0);
        assert.equal(harm, tableOf(without, "train", 1)[i].cost);
        const { "lambda/harm/value": ofHarm, "lambda/tone/value": ofTone } = rows[0];
        assertClose(combined, reward - ofHarm! * harm - ofTone! * tone, 1e-9, "combined");
      });
    },
  },
  {
    key: "advantage_composition",
    value: "ppo_lag",
    seen: "the first loss is that of (A_R - lambda A_C) / (1 + lambda)",
    given: { loss_type: "dr_grpo" },
    check(changed, without) {
      const [row] = rowsOf(changed);
      const table = tableOf(changed, "train", 1);
      const [ofReward, ofCost] = [table.map(({ reward }) => reward), table.map(({ cost }) => cost)]
        .map((scores) => advantages(scores, 4, "group"));
      const lambda = row["lambda/value"]!;
      const expected = -table.reduce((sum, { completion }, i) => {
        const advantage = (ofReward[i] - lambda * ofCost[i]) / (1 + lambda);
        return sum + tokenCount(completion, 6) * advantage / 8 / 6;
      }, 0);
      assertClose(row.loss, expected, 1e-5, "loss"); // a sum of products near 1, in f32
      assert.notEqual(row.loss, rowsOf(without)[0].loss);
    },
  },
  {
    key: "lambda_scope",
    value: "rank",
    seen: "nothing changes with one rank; test/gpu/training_ranks.test.ts has two",
    given: RISING,
    check: changesNothing,
  },
];
