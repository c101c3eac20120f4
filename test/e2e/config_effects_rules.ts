/** Effects of the keys that choose a rule for lambda, and of those that a rule alone reads. */
import assert from "node:assert/strict";
import { assertClose, type Effect } from "./config_effect.ts";
import { rowsOf, tableOf } from "./config_read.ts";
import type { Ran } from "./config_run.ts";

/** Costs on both sides of the limit. */
const MIXED = { cost_threshold_d: 0.1 };

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

function assertBound(ran: Ran, quantile: number): void {
  const costs = tableOf(ran, "train", 1).map(({ cost }) => cost);
  const squares = costs.map((cost) => (cost - mean(costs)) ** 2).reduce((sum, value) => sum + value, 0);
  assert.equal(costs.length, 8);
  const bound = mean(costs) + quantile * Math.sqrt(squares / 7 / 8);
  assertClose(rowsOf(ran)[0]["lambda/J_C_raw"], bound, 1e-12, "J");
}

type PidKey = "lambda_kp" | "lambda_ki" | "lambda_kd" | "lambda_d_delay";

const PID = { lambda_rule: "pid", lambda_kp: 0.1, lambda_ki: 0.01, lambda_kd: 0.01, lambda_d_delay: 10 };

/** lambda of each row by the three parts of pid, from the violations that are logged. */
function assertFollowsPid(ran: Ran, settings: typeof PID): void {
  const rows = rowsOf(ran);
  const averages = rows.map((row) => row["lambda/J_C_ema"]!);
  let integral = 1;
  rows.forEach((row, i) => {
    integral = Math.max(0, integral + settings.lambda_ki * row["lambda/J_C_raw"]!);
    const rise = Math.max(0, averages[i] - averages[Math.max(0, i - settings.lambda_d_delay)]);
    const lambda = settings.lambda_kp * averages[i] + integral + settings.lambda_kd * rise;
    assertClose(row["lambda/value"], lambda, 1e-12, `lambda of step ${row.step}`);
  });
}

function pidRow(key: PidKey, value: number, given: Partial<typeof PID>, seen: string): Effect {
  const settings = { ...PID, ...given };
  return {
    key,
    value,
    seen,
    given: { ...settings, max_steps: 4, lambda_max: 50, cost_threshold_d: 2, learning_rate: 0.3, seed: 7 },
    check(changed, without) {
      assertFollowsPid(changed, { ...settings, [key]: value });
      assertFollowsPid(without, settings);
      const lambdasOf = (ran: Ran) => rowsOf(ran).map((row) => row["lambda/value"]);
      assert.notDeepEqual(lambdasOf(changed), lambdasOf(without));
    },
  };
}

/** Completions that were scored before training, and the lambda that all rows then have. */
function oneShotRow(key: "lambda_dual_beta" | "lambda_dual_prompts", value: number, seen: string): Effect {
  const given = {
    lambda_rule: "one_shot",
    lambda_dual_prompts: 4,
    lambda_dual_beta: 0.5,
    cost_threshold_d: 0.1,
  };
  return {
    key,
    value,
    seen,
    given,
    check(changed, without) {
      for (const [ran, settings] of [[changed, { ...given, [key]: value }], [without, given]] as const) {
        const rows = rowsOf(ran);
        const scored = ran.batches.flatMap(({ responses }) => responses).length - 8 * rows.length;
        assert.equal(scored, 8 * Math.ceil(settings.lambda_dual_prompts / 2));
        assert.match(ran.output, new RegExp(`over ${scored} completions of ${scored / 4} prompts`));
        assert.deepEqual(new Set(rows.map((row) => row["lambda/value"])).size, 1);
      }
      const lambdaOf = (ran: Ran) => rowsOf(ran)[0]["lambda/value"];
      assert.notEqual(lambdaOf(changed), lambdaOf(without));
    },
  };
}

export const RULE_EFFECTS: readonly Effect[] = [
  {
    key: "lambda_rule",
    value: "per_prompt",
    seen: "what is below the limit counts as being at it, in J and in the score",
    given: { ...MIXED, debug_log_every: 1 },
    check(changed) {
      const table = tableOf(changed, "train", 1);
      const excess = table.map(({ cost }) => Math.max(cost + MIXED.cost_threshold_d, 0));
      assert.ok(excess.includes(0) && excess.some((value) => value > 0), `${excess}`);
      const [row] = rowsOf(changed);
      assertClose(row["lambda/J_C_raw"], mean(excess), 1e-12, "J");
      assertClose(
        row["combined/mean"],
        row["helpfulness/mean"]! - row["lambda/value"]! * mean(excess),
        1e-9,
        "combined",
      );
    },
  },
  {
    key: "cost_bound",
    value: "pessimistic",
    seen: "J is Student's upper bound of the mean cost, of which 8 costs have 7 degrees of freedom",
    given: { max_steps: 3, debug_log_every: 1 },
    check: (changed) => assertBound(changed, 1.4149239276505083), // t of 0.9
  },
  {
    key: "cost_confidence",
    value: 0.999,
    seen: "the bound lies further up",
    given: { max_steps: 3, debug_log_every: 1, cost_bound: "pessimistic" },
    check: (changed) => assertBound(changed, 4.785289628638318), // t of 0.999
  },
  pidRow("lambda_kp", 0.7, {}, "lambda follows the averaged violation so much more closely"),
  pidRow("lambda_ki", 0.4, {}, "a violation adds so much to lambda for good"),
  pidRow("lambda_kd", 3, {}, "a rising violation weighs so much more"),
  pidRow("lambda_d_delay", 1, { lambda_kd: 3 }, "the rise is that since the batch before"),
  oneShotRow("lambda_dual_beta", 2, "the KL divergence weighs more in the dual, so that lambda is another"),
  oneShotRow("lambda_dual_prompts", 5, "so many prompts are scored before the first step, in whole batches"),
];
