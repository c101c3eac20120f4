/** Every metric's value, from a record in which no two numbers that could be taken for each other are the same. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { exactInterval } from "../../src/rl/binomial.ts";
import { CLIPPED_RATIO, GAMMA_WEIGHTED, WEIGHTED_LOGPROB } from "../../src/rl/policy_terms.ts";
import { evalRow, METRIC_NAMES, type StepRecord, stepRow } from "../../src/tracking/metrics.ts";

const MEANS = {
  kl: 0.7,
  clipRatioLow: 0.1,
  clipRatioHigh: 0.2,
  clipRatioRegion: 0.3,
  clipRatioLowMin: 0.04,
  clipRatioHighMax: 0.6,
  sequenceWeight: 0.8,
};

// Two groups of three. The fifth completion has no score.
const RECORD: StepRecord = {
  step: 12,
  optimizerSteps: 4,
  epoch: 0.75,
  numTokens: 4321,
  rewards: [1, 2, 6, -4, NaN, 5],
  costs: [-2, 0, 3, 1, NaN, -7],
  combined: [2, 2, 2, -5, NaN, 9],
  numGenerations: 3,
  scaleRewards: "group",
  lambdas: [{ name: null, value: 1.5, effective: 0.75, jc: 0.5, jcRaw: -0.25, jcEma: 0.125, d: 0.0625 }],
  completionLengths: [3, 8, 16, 5, 11, 17],
  terminated: [true, true, false, true, true, false],
  hallucinatedTurns: 3,
  truncatedPrompts: 1,
  loss: 0.03,
  gradNorm: 7.5,
  nonfiniteSteps: 0,
  learningRate: 2e-4,
  kl: 0.01,
  entropy: 2.25,
  entropyBonus: { policyLoss: 0.05, coef: 0.01 },
  // No run has all of them: a loss type logs the one or the other.
  clipMetrics: {
    ...CLIPPED_RATIO.clipMetrics(MEANS),
    ...WEIGHTED_LOGPROB.clipMetrics({ ...MEANS, clipRatioHigh: 0.9 }),
    ...GAMMA_WEIGHTED.clipMetrics(MEANS),
  },
  stepSeconds: 8,
  phaseSeconds: { generate: 4.5, score: 1.25, update: 2 },
};

test("every metric of a step has the value that arithmetic gives it", () => {
  assert.deepEqual(stepRow(RECORD), {
    step: 12,
    epoch: 0.75,
    num_tokens: 4321,
    loss: 0.03,
    grad_norm: 7.5,
    learning_rate: 2e-4,
    // Of the five scores 2, 2, 2, -5, 9: mean 2, squares 0 + 0 + 0 + 49 + 49 over n - 1 = 4.
    reward: 2,
    reward_std: Math.sqrt(98 / 4),
    // The first group's scores agree, the second's do not.
    frac_reward_zero_std: 1 / 2,
    kl: 0.01,
    entropy: 2.25,
    policy_loss: 0.05,
    entropy_coef: 0.01,
    "clip_ratio/low_mean": 0.1,
    "clip_ratio/low_min": 0.04,
    "clip_ratio/high_mean": 0.2,
    "clip_ratio/high_max": 0.6,
    "clip_ratio/region_mean": 0.3,
    cispo_clip_ratio: 0.9,
    "vespo/phi_seq_mean": 0.8,
    "helpfulness/mean": (1 + 2 + 6 - 4 + 5) / 5,
    "cost/mean": (-2 + 0 + 3 + 1 - 7) / 5,
    "combined/mean": 2,
    "combined/std": Math.sqrt(98 / 4),
    "combined/min": -5,
    "combined/max": 9,
    // Costs -2, 0 and -7 are safe, 3 and 1 are not.
    "safety/safe_ratio": 3 / 5,
    "safety/unsafe_count_batch": 2,
    "safety/total_count_batch": 5,
    "lambda/value": 1.5,
    "lambda/effective": 0.75,
    "lambda/J_C": 0.5,
    "lambda/J_C_raw": -0.25,
    "lambda/J_C_ema": 0.125,
    "lambda/d": 0.0625,
    "completions/mean_length": (3 + 8 + 16 + 5 + 11 + 17) / 6,
    "completions/min_length": 3,
    "completions/max_length": 17,
    "completions/mean_terminated_length": (3 + 8 + 5 + 11) / 4,
    "completions/min_terminated_length": 3,
    "completions/max_terminated_length": 11,
    "completions/clipped_ratio": 2 / 6,
    "completions/hallucinated_turn_ratio": 3 / 6,
    "prompts/truncated_ratio": 1 / 6,
    step_time: 8,
    tokens_per_second: 60 / 8,
    "seconds/generate": 4.5,
    "seconds/score": 1.25,
    "seconds/update": 2,
  });
});

test("a row holds its metrics in the order of their names", () => {
  const names = Object.keys(stepRow(RECORD)).slice(1);
  assert.deepEqual(names, METRIC_NAMES.filter((name) => names.includes(name)));
});

test("every metric of an evaluation counts the completions that have a score, and names all of them", () => {
  const { rewards, costs, combined } = RECORD;
  assert.deepEqual(evalRow({ step: 20, lambdas: [{ name: null, value: 0.3 }], rewards, costs, combined }), {
    step: 20,
    "eval/mean_reward": 10 / 5,
    "eval/mean_cost": -5 / 5,
    "eval/mean_combined": 10 / 5,
    "eval/lambda": 0.3,
    "eval/safe_ratio": 3 / 5,
    "eval/unsafe_share_low": exactInterval(2, 5)[0],
    "eval/unsafe_share_high": exactInterval(2, 5)[1],
    "eval/total_samples": 6,
  });
});

test("where no completion ended by itself, their lengths are 0 as in TRL and all are clipped", () => {
  const row = stepRow({ ...RECORD, terminated: Array<boolean>(6).fill(false) });
  const ended = (["mean", "min", "max"] as const).map((name) => row[`completions/${name}_terminated_length`]);
  assert.deepEqual([...ended, row["completions/clipped_ratio"]], [0, 0, 0, 1]);
});

test("where every completion ended by itself none is clipped", () => {
  const row = stepRow({ ...RECORD, terminated: Array<boolean>(6).fill(true) });
  assert.deepEqual([row["completions/clipped_ratio"], row["completions/mean_terminated_length"]], [0, 10]);
});

test("what has no value has no name: a step without scores, and one that took no time", () => {
  const none = Array<number>(6).fill(NaN);
  const row = stepRow({ ...RECORD, rewards: none, costs: none, combined: none, stepSeconds: 0 });
  for (
    const name of [
      "reward",
      "reward_std",
      "helpfulness/mean",
      "cost/mean",
      "combined/std",
      "combined/min",
      "safety/safe_ratio",
      "tokens_per_second",
    ] as const
  ) assert.equal(name in row, false, name);
  assert.deepEqual([row["safety/total_count_batch"], row["safety/unsafe_count_batch"], row.step_time], [
    0,
    0,
    0,
  ]);
  assert.deepEqual(
    evalRow({ step: 1, lambdas: [{ name: null, value: 1 }], rewards: [], costs: [], combined: [] }),
    {
      step: 1,
      "eval/lambda": 1,
      "eval/total_samples": 0,
    },
  );
});

test("a score that is infinite counts as none", () => {
  const row = stepRow({
    ...RECORD,
    rewards: [1, 2, 6, -4, Infinity, 5],
    combined: [2, 2, 2, -5, -Infinity, 9],
  });
  assert.deepEqual([row["helpfulness/mean"], row.reward, row["combined/min"]], [2, 2, -5]);
});

test("lists of different lengths are refused with all three lengths", () => {
  const lists = { rewards: [1], costs: [1], combined: [1, 2] };
  assert.throws(() => stepRow({ ...RECORD, ...lists }), /got 1, 1 and 2/);
  assert.throws(() => evalRow({ step: 1, lambdas: [{ name: null, value: 1 }], ...lists }), RangeError);
  assert.throws(
    () => evalRow({ step: 1, lambdas: [{ name: null, value: 1 }], rewards: [1], costs: [], combined: [1] }),
    /got 1, 0 and 1/,
  );
});

test("what each part of a scorer said has TRL's names, over the completions that it applies to", () => {
  const named = { "rewards/brief": [1, NaN, 3, 8, NaN, NaN], "costs/rude": [0, 0, 0, 0, 0, 6] };
  const row = stepRow({ ...RECORD, named });
  assert.equal(row["rewards/brief/mean"], 4);
  assert.ok(Math.abs(row["rewards/brief/std"] - Math.sqrt(13)) < 1e-12, "divisor n - 1");
  assert.equal(row["costs/rude/mean"], 1);
  const {
    "rewards/brief/mean": _1,
    "rewards/brief/std": _2,
    "costs/rude/mean": _3,
    "costs/rude/std": _4,
    ...rest
  } = row;
  assert.deepEqual(rest, stepRow(RECORD), "nothing else changes");
  const evaluated = evalRow({ ...RECORD, lambdas: [{ name: null, value: 1.5 }], named });
  assert.equal(evaluated["eval/rewards/brief/mean"], 4);
  assert.ok(!("rewards/brief/mean" in evaluated), "an evaluation does not overwrite its step's");
  const none = stepRow({ ...RECORD, named: { "rewards/never": Array(6).fill(NaN) } });
  assert.ok(!("rewards/never/mean" in none) && !("rewards/never/std" in none), "no number is made up");
});
