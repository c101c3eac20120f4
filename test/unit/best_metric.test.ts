/** Which evaluation is the best, and when evaluations end a run: by transformers' rules. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadConfig } from "../../src/config/load.ts";
import {
  bestAfter,
  type BestConfig,
  bestMetricOf,
  type BestState,
  isPatienceOver,
  stillBest,
} from "../../src/rl/best_metric.ts";

const configOf = (change: Partial<BestConfig> = {}): BestConfig => ({
  metric_for_best_model: "safe_ratio",
  greater_is_better: null,
  early_stopping_patience: 2,
  early_stopping_threshold: 0,
  ...change,
});

/** The states after evaluations of these values, at steps 10, 20... */
function statesOf(values: readonly number[], config: BestConfig, metric = "eval/safe_ratio"): BestState[] {
  let state: BestState | null = null;
  return values.map((value, i) => state = bestAfter(state, { step: 10 * (i + 1), [metric]: value }, config)!);
}

const brief = (states: readonly BestState[]) => states.map(({ step, stale }) => [step, stale]);

test("the greatest value is the best; the first of equals; evaluations that are no better are counted until one is", () => {
  const states = statesOf([0.5, 0.5, 0.4, 0.6, 0.1], configOf());
  assert.deepEqual(brief(states), [[10, 0], [10, 1], [10, 2], [40, 0], [40, 1]]);
  assert.deepEqual(states.map((state) => isPatienceOver(state, configOf())), [
    false,
    false,
    true,
    false,
    false,
  ]);
  assert.equal(isPatienceOver(states[2], configOf({ early_stopping_patience: null })), false);
  assert.equal(isPatienceOver(null, configOf()), false);
});

test("less of a cost is better, unless greater_is_better says otherwise", () => {
  for (const metric of ["eval/mean_cost", "eval/costs/harm/mean"]) {
    const config = configOf({ metric_for_best_model: metric });
    assert.deepEqual(brief(statesOf([2, 1, 3], config, metric)), [[10, 0], [20, 0], [20, 1]]);
    const reversed = { ...config, greater_is_better: true };
    assert.deepEqual(brief(statesOf([2, 1, 3], reversed, metric)), [[10, 0], [10, 1], [30, 0]]);
  }
});

test("a gain within early_stopping_threshold makes a new best, and no improvement", () => {
  const config = configOf({ early_stopping_threshold: 0.1 });
  assert.deepEqual(brief(statesOf([0.5, 0.55, 0.6, 0.75], config)), [[10, 0], [20, 1], [30, 2], [40, 0]]);
});

test("the policy before its first step does not count, but its evaluation shows whether there is such a metric", () => {
  const config = configOf({ metric_for_best_model: "eval_rewards/length/mean" });
  assert.equal(bestAfter(null, { step: 0, "eval/rewards/length/mean": 9 }, config), null);
  assert.throws(
    () => bestAfter(null, { step: 0, "eval/safe_ratio": 1, loss: 2 }, config),
    /metric_for_best_model = "eval\/rewards\/length\/mean": .*step 0 has no such number, but eval\/safe_ratio;/,
  );
});

test("without a metric nothing is the best; what another metric found says nothing", () => {
  assert.equal(bestAfter(null, { step: 1 }, configOf({ metric_for_best_model: null })), null);
  const [state] = statesOf([0.5], configOf());
  assert.equal(stillBest(state, configOf()), state);
  for (const change of [{ metric_for_best_model: "mean_cost" }, { greater_is_better: false }]) {
    assert.equal(stillBest(state, configOf(change)), null);
  }
  assert.deepEqual(bestMetricOf(configOf({ metric_for_best_model: "eval_mean_cost" })), {
    metric: "eval/mean_cost",
    greaterIsBetter: false,
  });
});

test("settings that need a metric, evaluations or a name that is one say so", () => {
  const load = (...overrides: string[]) =>
    loadConfig({ text: "seed: 1", fileName: "run.yaml" }, { overrides });
  assert.equal(
    load("metric_for_best_model=safe_ratio", "load_best_model_at_end=true").load_best_model_at_end,
    true,
  );
  assert.throws(
    () => load("load_best_model_at_end=true"),
    /load_best_model_at_end needs metric_for_best_model/,
  );
  assert.throws(
    () => load("early_stopping_patience=3"),
    /early_stopping_patience needs metric_for_best_model/,
  );
  assert.throws(
    () => load("metric_for_best_model=eval/lambda"),
    /metric_for_best_model must be one of eval\/mean_reward, .*got "eval\/lambda"/,
  );
  assert.throws(
    () => load("metric_for_best_model=safe_ratio", "eval_jsonl=null"),
    /metric_for_best_model needs evaluations, but eval_jsonl is null/,
  );
});
