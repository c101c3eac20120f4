/** What a run's rows say of a lambda that no longer does its work, and what to set. */
import { LAMBDA_RULES, ruleNameOf } from "../rl/lambda/rules.ts";
import type { LambdaConfig } from "../rl/lambda.ts";
import type { MetricRow } from "./metrics.ts";

/** Rows in a row that say it, before it is said. */
const AT_MAXIMUM_ROWS = 20;
const SAFE_ROWS = 50;

export interface LambdaFinding {
  kind: "at maximum" | "cannot fall";
  text: string;
}

/** How many rows of steps at the end hold this. */
function rowsAtEnd(rows: readonly MetricRow[], holds: (row: MetricRow) => boolean): number {
  const steps = rows.filter((row) => row["lambda/value"] !== undefined);
  const last = steps.findLastIndex((row) => !holds(row));
  return steps.length - 1 - last;
}

type FindingConfig = Pick<
  LambdaConfig,
  "lambda_rule" | "lambda_adapt" | "lambda_pos_cost_only" | "lambda_max"
>;

/** What is so at the end of the rows. @param rows of a run, by step */
export function lambdaFindings(rows: readonly MetricRow[], config: FindingConfig): LambdaFinding[] {
  const name = ruleNameOf(config);
  const rule = LAMBDA_RULES[name];
  if (!rule.adapts) return [];
  const recent = rows.slice(-2 * SAFE_ROWS); // with those of evaluations alone
  const violated = (row: MetricRow) => row["lambda/J_C_raw"]! > 0;
  const atMaximum = rowsAtEnd(recent, (row) => row["lambda/value"]! >= config.lambda_max && violated(row));
  if (atMaximum >= AT_MAXIMUM_ROWS) {
    return [{
      kind: "at maximum",
      text:
        `lambda stands at lambda_max = ${config.lambda_max}, and costs are above the limit nonetheless, for ` +
        `${AT_MAXIMUM_ROWS} rows and more: set lambda_max=${
          2 * config.lambda_max
        }, or look in samples/ whether the ` +
        "scorer calls everything unsafe",
    }];
  }
  const safe = rowsAtEnd(recent, (row) => !violated(row));
  if (rule.countsOnlyExcess && safe >= SAFE_ROWS) {
    const lambda = recent.findLast((row) => row["lambda/value"] !== undefined)!["lambda/value"]!;
    return [{
      kind: "cannot fall",
      text:
        `lambda stands at ${
          lambda.toPrecision(3)
        } and cannot fall with lambda_rule ${name}, though costs have ` +
        `been within the limit for ${SAFE_ROWS} rows and more: where reward suffers, set lambda_rule=signed or pid`,
    }];
  }
  return [];
}
