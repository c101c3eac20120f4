/** What a run's rows say of a lambda that no longer does its work, and what to set. */
import { settingsOfCost } from "../config/constraints.ts";
import type { RunConfig } from "../config/sweep.ts";
import { LAMBDA_RULES, ruleNameOf } from "../rl/lambda/rules.ts";
import type { LambdaConfig } from "../rl/lambda.ts";
import type { MetricRow } from "./metrics.ts";

/** Rows in a row that say it, before it is said. */
const AT_MAXIMUM_ROWS = 20;
const SAFE_ROWS = 50;

export interface LambdaFinding {
  kind: "at maximum" | "cannot fall";
  /** The cost; null where there is one. */
  cost: string | null;
  text: string;
}

/** What the rows of a step say of one lambda. */
interface LambdaRow {
  value: number;
  /** J_C_raw. */
  violation: number;
}

/** How many rows at the end hold this. */
const rowsAtEnd = (rows: readonly LambdaRow[], holds: (row: LambdaRow) => boolean): number =>
  rows.length - 1 - rows.findLastIndex((row) => !holds(row));

type OwnConfig = Pick<LambdaConfig, "lambda_rule" | "lambda_adapt" | "lambda_pos_cost_only" | "lambda_max">;

/** `costs` is missing in the settings of runs that knew of one cost alone. */
type FindingConfig = OwnConfig & Partial<Pick<RunConfig, "costs">>;

/** What is so at the end of the rows, of each lambda. @param rows of a run, by step */
export function lambdaFindings(rows: readonly MetricRow[], config: FindingConfig): LambdaFinding[] {
  const recent = rows.slice(-2 * SAFE_ROWS); // with those of evaluations alone
  const { costs = null, ...settings } = config;
  return costs === null
    ? findingsOf(null, rowsOf(recent, "lambda"), settings)
    : costs.flatMap((entry) =>
      findingsOf(entry.name, rowsOf(recent, `lambda/${entry.name}`), settingsOfCost(settings, entry))
    );
}

const rowsOf = (rows: readonly MetricRow[], prefix: "lambda" | `lambda/${string}`): LambdaRow[] =>
  rows.flatMap((row) => {
    const [value, violation] = [row[`${prefix}/value`], row[`${prefix}/J_C_raw`]];
    return value === undefined || violation === undefined ? [] : [{ value, violation }];
  });

function findingsOf(cost: string | null, rows: readonly LambdaRow[], config: OwnConfig): LambdaFinding[] {
  const name = ruleNameOf(config);
  const rule = LAMBDA_RULES[name];
  if (!rule.adapts) return [];
  const [lambda, costs, where] = cost === null
    ? ["lambda", "costs are", ""]
    : [`lambda of ${cost}`, `its costs are`, ` in the entry of ${cost}`];
  const violated = ({ violation }: LambdaRow) => violation > 0;
  const atMaximum = rowsAtEnd(rows, (row) => row.value >= config.lambda_max && violated(row));
  if (atMaximum >= AT_MAXIMUM_ROWS) {
    return [{
      kind: "at maximum",
      cost,
      text:
        `${lambda} stands at lambda_max = ${config.lambda_max}, and ${costs} above the limit nonetheless, for ` +
        `${AT_MAXIMUM_ROWS} rows and more: set lambda_max=${
          2 * config.lambda_max
        }${where}, or look in samples/ ` +
        "whether the scorer calls everything unsafe",
    }];
  }
  const safe = rowsAtEnd(rows, (row) => !violated(row));
  if (rule.countsOnlyExcess && safe >= SAFE_ROWS) {
    return [{
      kind: "cannot fall",
      cost,
      text:
        `${lambda} stands at ${
          rows.at(-1)!.value.toPrecision(3)
        } and cannot fall with lambda_rule ${name}, though ` +
        `${
          cost === null ? "costs" : "its costs"
        } have been within the limit for ${SAFE_ROWS} rows and more: where ` +
        `reward suffers, set lambda_rule=signed or pid${where}`,
    }];
  }
  return [];
}
