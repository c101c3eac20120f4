import assert from "node:assert/strict";
import { test } from "node:test";
import { lambdaFindings } from "../../src/tracking/lambda_findings.ts";
import type { MetricRow } from "../../src/tracking/metrics.ts";
import { lambdaWarning } from "../../src/train/lambda_warning.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import { LAMBDA_CONFIG } from "./lambda_config.ts";

/** Rows of so many steps with this lambda and violation, and an evaluation's between them. */
const rowsOf = (count: number, lambda: number, violation: number, from = 1): MetricRow[] =>
  Array.from({ length: count }, (_, i) => [
    { step: from + i, "lambda/value": lambda, "lambda/J_C_raw": violation },
    { step: from + i, "eval/total_samples": 3 },
  ]).flat();

const kinds = (rows: MetricRow[], settings = {}) =>
  lambdaFindings(rows, { ...LAMBDA_CONFIG, ...settings }).map(({ kind }) => kind);

test("a lambda that stands at lambda_max is told once costs were above the limit for 20 rows", () => {
  assert.deepEqual(kinds(rowsOf(20, 5, 0.1)), ["at maximum"]);
  assert.deepEqual(kinds(rowsOf(19, 5, 0.1)), []);
  assert.deepEqual(kinds([...rowsOf(30, 5, 0.1), ...rowsOf(1, 5, -0.1)]), []);
  assert.deepEqual(kinds(rowsOf(30, 4.99, 0.1)), []);
  assert.match(lambdaFindings(rowsOf(20, 5, 0.1), LAMBDA_CONFIG)[0].text, /set lambda_max=10, or look/);
});

test("a lambda that can never fall is told once the policy was safe for 50 rows; one that can is not", () => {
  assert.deepEqual(kinds(rowsOf(50, 3, -1)), ["cannot fall"]);
  assert.deepEqual(kinds(rowsOf(49, 3, -1)), []);
  assert.deepEqual(kinds(rowsOf(60, 3, -1), { lambda_pos_cost_only: false }), []);
  assert.deepEqual(kinds(rowsOf(60, 3, -1), { lambda_rule: "pid" }), []);
  assert.deepEqual(kinds(rowsOf(60, 3, -1), { lambda_adapt: false }), []);
  assert.match(lambdaFindings(rowsOf(50, 3, 0), LAMBDA_CONFIG)[0].text, /set lambda_rule=signed or pid/);
});

test("of several costs each lambda is told of by its name, its rule and its maximum", () => {
  const costs = [{ name: "harm" }, { name: "tone", lambda_max: 3 }, {
    name: "length",
    lambda_rule: "pid" as const,
  }];
  const rows = Array.from({ length: 20 }, (_, i): MetricRow => ({
    step: i,
    ...Object.fromEntries(
      costs.flatMap(({ name }) => [[`lambda/${name}/value`, 3], [`lambda/${name}/J_C_raw`, 1]]),
    ),
  }));
  const [finding, ...more] = lambdaFindings(rows, { ...LAMBDA_CONFIG, costs });
  assert.deepEqual([finding.cost, finding.kind, more], ["tone", "at maximum", []]);
  assert.match(
    finding.text,
    /^lambda of tone stands at lambda_max = 3, .* set lambda_max=6 in the entry of tone, or/,
  );
});

test("a run says each finding once", () => {
  const told: string[] = [];
  const warn = lambdaWarning(sweepRuns(defaultConfig())[0], (text) => told.push(text));
  for (let count = 1; count <= 30; count++) warn(rowsOf(count, 5, 1));
  for (let count = 1; count <= 60; count++) warn([...rowsOf(30, 5, 1), ...rowsOf(count, 5, -1, 31)]);
  assert.deepEqual(told.map((text) => text.slice(0, 34)), [
    "Warning: at step 20 lambda stands ",
    "Note: at step 80 lambda stands at ",
  ]);
});
