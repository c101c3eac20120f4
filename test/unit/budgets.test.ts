/** Runs of different kinds are held against each other by what they had spent. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { equalBudgets, spentAt } from "../../src/tracking/budgets.ts";
import type { MetricRow } from "../../src/tracking/metrics.ts";
import { runOf } from "./run_of.ts";
import { budgetsTable } from "../../src/tracking/report_sections.ts";

/** As GRPO's: few completions to a step, with tokens. */
const small = Array.from({ length: 20 }, (_, i): MetricRow => ({
  step: i + 1,
  num_tokens: 1000 * (i + 1),
  step_time: 30,
  "safety/total_count_batch": 60,
  "helpfulness/mean": i,
  "safety/safe_ratio": 0.5,
}));
/** As evolution strategies': many completions to a step, no tokens. */
const large = [1, 2].map((step): MetricRow => ({
  step,
  step_time: 300,
  "safety/total_count_batch": 600,
  "helpfulness/mean": -step,
}));

test("what a run had spent adds up over its rows, and is unknown where no row tells", () => {
  assert.deepEqual(spentAt(small)[2], { completions: 180, tokens: 3000, minutes: 1.5 });
  assert.deepEqual(spentAt(large)[1], { completions: 1200, tokens: null, minutes: 10 });
  const withEvaluation = spentAt([{ step: 0, "eval/safe_ratio": 1 }, ...small]);
  assert.deepEqual([withEvaluation[0].completions, withEvaluation[1].completions], [0, 60]);
  assert.deepEqual(spentAt([{ step: 1 }]), [{ completions: null, tokens: null, minutes: null }]);
});

test("of evolution strategies the policy's own completions count, and stand for it", () => {
  const rows = large.map((row): MetricRow => ({
    ...row,
    "unperturbed/helpfulness": 3,
    "unperturbed/safe_ratio": 0.75,
    "unperturbed/total_count": 20,
  }));
  assert.equal(spentAt(rows)[1].completions, 1240);
  const [completions] = equalBudgets([{ rows: small }, { rows }]);
  assert.deepEqual(completions.runs[1], { run: 1, step: 1, reward: 3, safeRatio: 0.75 });
  assert.match(budgetsTable([runOf(small), runOf(rows)]), /what the policy itself wrote/);
});

test("runs are compared at the most that all of them spent, by their last rows until then", () => {
  const longer = [
    ...small,
    ...small.map((row) => ({ ...row, step: row.step + 20, "helpfulness/mean": 100 })),
  ];
  const [completions, minutes] = equalBudgets([{ rows: longer }, { rows: large.slice(0, 1) }]);
  assert.deepEqual([completions.kind, completions.value], ["completions", 600]);
  // Ten steps of 60 completions: their rewards are 0 to 9, the last five of them 5 to 9.
  assert.deepEqual(completions.runs, [
    { run: 0, step: 10, reward: 7, safeRatio: 0.5 },
    { run: 1, step: 1, reward: -1, safeRatio: null },
  ]);
  assert.deepEqual([minutes.kind, minutes.value, minutes.runs[0].step], ["minutes", 5, 10]);
  const tokens = equalBudgets([{ rows: longer }, { rows: large }, { rows: small }])
    .find(({ kind }) => kind === "tokens")!;
  assert.deepEqual(tokens.runs.map(({ run }) => run), [0, 2], "of those that count them");
  assert.equal(tokens.value, 20_000);
});

test("a comparison says it in a table, where two runs tell the same", () => {
  const [a, b] = [runOf(small, { name: "grpo" }), runOf(large, { name: "es" })];
  const html = budgetsTable([a, b]);
  assert.match(html, /rowspan="2">1200 completions<\/th><td class="text short">grpo<\/td>/);
  assert.match(html, /rowspan="2">10 minutes<\/th>/);
  assert.doesNotMatch(html, /tokens/);
  assert.equal(budgetsTable([a, runOf([])]), "");
});
