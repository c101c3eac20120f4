import assert from "node:assert/strict";
import { test } from "node:test";
import { type EsRecord, esRow } from "../../src/tracking/es_metrics.ts";
import { ES_METRICS } from "../../src/tracking/metrics.ts";

/** Two members answer two prompts. */
const RECORD: EsRecord = {
  step: 3,
  epoch: 0.5,
  numTokens: 100,
  rewards: [1, 3, 2, 6],
  costs: [-1, 1, 0, 4],
  fitness: [2, 5],
  unperturbed: {
    rewards: [4, 6],
    costs: [-2, 1],
    combined: [6, 5],
    completionLengths: [3, 5],
    ends: ["eos", "eos"],
  },
  lambdas: [{ name: null, value: 1.5, jc: 0, jcRaw: -0.5, jcEma: 0.2, d: 0 }],
  completionLengths: [4, 8, 4, 4],
  ends: ["eos", "length", "stop", "eos"],
  hallucinatedTurns: 3,
  truncatedPrompts: 0,
  nonfiniteSteps: 0,
  stepSeconds: 4,
  phaseSeconds: { generate: 2, score: 1, update: 0.5 },
  updateSeconds: 0.25,
  exchangeSeconds: 0.125,
};

test("an iteration's row has the original's names: fitness, all members' scores, and times", () => {
  const row = esRow(RECORD);
  assert.deepEqual([row["combined/mean"], row["combined/std"]], [3.5, 1.5]); // divisor N
  assert.deepEqual([row["combined/min"], row["combined/max"]], [2, 5]);
  assert.deepEqual([row["helpfulness/mean"], row["cost/mean"], row["safety/safe_ratio"]], [3, 1, 0.5]);
  assert.deepEqual([row["lambda/value"], row["lambda/J_C_raw"], row["lambda/J_C_ema"]], [1.5, -0.5, 0.2]);
  const times = [row["time/iteration"], row["time/perturbation_application"], row["time/broadcast"]];
  assert.deepEqual(times, [4, 0.25, 0.125]);
  assert.equal(row.iteration, 3);
});

test("the policy's own scores stand beside them, and what only gradients have does not", () => {
  const row = esRow(RECORD);
  const own = [row["unperturbed/helpfulness"], row["unperturbed/cost"], row["unperturbed/safe_ratio"]];
  assert.deepEqual(own, [5, -0.5, 0.5]);
  assert.equal(row["unperturbed/total_count"], 2);
  assert.equal(row["completions/hallucinated_turn_ratio"], 0.5); // of six completions
  assert.equal(row["completions/clipped_ratio"], 0.25);
  assert.deepEqual(
    [row.loss, row.kl, row.grad_norm, row.learning_rate, row.nonfinite_steps],
    Array(5).fill(undefined),
  );
  assert.ok(ES_METRICS.every((name) => name in row));
});

test("scores that do not line up are refused, of members and of the policy", () => {
  assert.throws(() => esRow({ ...RECORD, costs: [1] }), /got 4, 1 and 4/);
  const unperturbed = { ...RECORD.unperturbed, costs: [] };
  assert.throws(() => esRow({ ...RECORD, unperturbed }), /got 2, 0 and 2/);
});
