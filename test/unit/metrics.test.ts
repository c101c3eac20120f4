import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { CLIP_METRICS } from "../../src/rl/policy_terms.ts";
import { SAMPLER_METRICS } from "../../src/rl/sampler_weights.ts";
import { evalRow, METRIC_NAMES, stepRow, TIMING_METRICS } from "../../src/tracking/metrics.ts";
import { stepRecord } from "./step_record.ts";

describe("stepRow()", () => {
  it("holds exactly the documented names when everything was measured", () => {
    const clipMetrics = Object.fromEntries(CLIP_METRICS.map((name) => [name, 0]));
    const samplerMetrics = Object.fromEntries(SAMPLER_METRICS.map((name) => [name, 0]));
    const asked = { retries: 2, waitSeconds: 0.5, cutFraction: 0.25 };
    const record = stepRecord({
      kl: 0.01,
      entropy: 2,
      clipMetrics,
      samplerMetrics,
      asked,
      entropyBonus: { policyLoss: 1, coef: 0.5 },
      nonfiniteSteps: 1,
    });
    const { step: _, ...metrics } = stepRow(record);
    const expected = METRIC_NAMES.filter((name) => !name.startsWith("eval/"));
    assert.deepEqual(Object.keys(metrics).sort(), [...expected].sort());
  });

  it("matches the numbers worked by hand", () => {
    // Two groups of two. combined = R - 2C: [1-0, 3+2, 2-2, 2-2] = [1, 5, 0, 0]; the second has no spread.
    const row = stepRow(stepRecord({
      rewards: [1, 3, 2, 2],
      costs: [0, -1, 1, 1],
      combined: [1, 5, 0, 0],
      numGenerations: 2,
      completionLengths: [4, 6, 10, 20],
      stepSeconds: 4,
    }));
    assert.equal(row["helpfulness/mean"], 2);
    assert.equal(row["cost/mean"], 0.25);
    assert.equal(row["combined/mean"], 1.5);
    assert.equal(row.reward, 1.5);
    // Deviations from 1.5: 0.25 + 12.25 + 2.25 + 2.25 = 17, over n - 1 = 3.
    assert.equal(row["combined/std"], Math.sqrt(17 / 3));
    assert.deepEqual([row["combined/min"], row["combined/max"]], [0, 5]);
    assert.equal(row.reward_std, Math.sqrt(17 / 3));
    assert.equal(row.frac_reward_zero_std, 0.5);
    // A cost of exactly 0 is safe.
    assert.equal(row["safety/safe_ratio"], 0.5);
    assert.equal(row["safety/unsafe_count_batch"], 2);
    assert.equal(row["safety/total_count_batch"], 4);
    const lengths = [
      row["completions/mean_length"],
      row["completions/min_length"],
      row["completions/max_length"],
    ];
    assert.deepEqual(lengths, [10, 4, 20]);
    assert.equal(row.tokens_per_second, 10);
  });

  it("counts groups without spread as TRL does: with scale_rewards batch, the whole batch is one group", () => {
    const record = { rewards: [1, 1, 3, 3], costs: [0, 0, 0, 0], combined: [1, 1, 3, 3], numGenerations: 2 };
    const fraction = (scaleRewards: "group" | "batch" | "none") =>
      stepRow(stepRecord({ ...record, scaleRewards })).frac_reward_zero_std;
    assert.deepEqual([fraction("group"), fraction("batch"), fraction("none")], [1, 0, 1]);
  });

  it("has no name for what does not exist", () => {
    const row = stepRow(stepRecord({ kl: undefined, entropy: undefined }));
    assert.equal("kl" in row, false);
    assert.equal("entropy" in row, false);
  });

  it("keeps a completion without a score out of every mean and count", () => {
    const scored = { rewards: [1, 3], costs: [-1, 1], combined: [2, 2], numGenerations: 2 };
    const unscored = { rewards: [1, 3, NaN], costs: [-1, 1, NaN], combined: [2, 2, NaN], numGenerations: 3 };
    const names = [
      "helpfulness/mean",
      "cost/mean",
      "combined/std",
      "safety/safe_ratio",
      "reward_std",
    ] as const;
    for (const name of names) {
      assert.equal(stepRow(stepRecord(unscored))[name], stepRow(stepRecord(scored))[name], name);
    }
  });

  it("shows a loss that is not a number instead of hiding it", () => {
    assert.ok(Number.isNaN(stepRow(stepRecord({ loss: NaN })).loss));
  });

  it("does not depend on the order within groups, except through rounding", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -9, max: 9, noNaN: true }), { minLength: 4, maxLength: 4 }),
        (costs) => {
          const record = { rewards: costs, costs, combined: costs, numGenerations: 4 };
          const reversed = costs.toReversed();
          const a = stepRow(stepRecord(record));
          const b = stepRow(
            stepRecord({ ...record, rewards: reversed, costs: reversed, combined: reversed }),
          );
          assert.equal(a["safety/safe_ratio"], b["safety/safe_ratio"]);
          assert.ok(Math.abs(a.reward_std! - b.reward_std!) < 1e-9);
        },
      ),
    );
  });

  it("refuses scores that do not line up or do not divide into groups", () => {
    assert.throws(
      () => stepRow(stepRecord({ costs: [1] })),
      /one reward, cost and combined score per completion/,
    );
    assert.throws(() => stepRow(stepRecord({ numGenerations: 3 })), /Cannot group 4 scores: need a multiple/);
  });

  it("names every timing of a row among the TIMING_METRICS", () => {
    const slow = stepRecord({
      stepSeconds: 99,
      phaseSeconds: { generate: 9, score: 9, update: 9 },
    });
    const without = (row: object) => {
      return Object.fromEntries(
        Object.entries(row).filter(([name]) => !TIMING_METRICS.some((other) => other === name)),
      );
    };
    assert.deepEqual(without(stepRow(slow)), without(stepRow(stepRecord({}))));
  });
});

describe("evalRow()", () => {
  it("matches the numbers worked by hand", () => {
    const row = evalRow({
      step: 20,
      lambdas: [{ name: null, value: 0.7 }],
      rewards: [1, 2, 3, 6],
      costs: [-1, 0, 1, 2],
      combined: [2, 2, 2, 4],
    });
    assert.deepEqual(row, {
      step: 20,
      "eval/mean_reward": 3,
      "eval/mean_cost": 0.5,
      "eval/mean_combined": 2.5,
      "eval/lambda": 0.7,
      "eval/safe_ratio": 0.5,
      // The x at which 1 - (1 - x)^4 - 4 x (1 - x)^3 = 0.025, and 1 minus it.
      "eval/unsafe_share_low": 0.0675859864885431,
      "eval/unsafe_share_high": 0.9324140135114569,
      "eval/total_samples": 4,
    });
  });
});
