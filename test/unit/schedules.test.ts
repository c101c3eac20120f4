import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  learningRate,
  LR_SCHEDULER_TYPES,
  type LrSchedulerType,
  type ScheduleConfig,
} from "../../src/rl/schedules.ts";

function rates(type: LrSchedulerType, steps: readonly number[], warmup = 10): number[] {
  const config = { learning_rate: 1, lr_scheduler_type: type, warmup_steps: warmup, total_steps: 110 };
  return steps.map((step) => learningRate(step, config));
}

function assertRates(actual: readonly number[], expected: readonly number[]): void {
  actual.forEach((rate, i) => assert.ok(Math.abs(rate - expected[i]!) < 1e-12, `${rate} != ${expected[i]}`));
}

// 10 steps of warm-up, then 100: steps 0, 5 (half-way up), 10 (peak), 60 (half-way down), 110 (end).
const STEPS = [0, 5, 10, 60, 110];

test("learningRate() follows transformers' formulas at the start, the peak, half-way and the end", () => {
  assertRates(rates("constant", STEPS), [1, 1, 1, 1, 1]);
  assertRates(rates("constant_with_warmup", STEPS), [0, 0.5, 1, 1, 1]);
  assertRates(rates("linear", STEPS), [0, 0.5, 1, 0.5, 0]);
  assertRates(rates("cosine", STEPS), [0, 0.5, 1, 0.5, 0]);
  assertRates(rates("cosine", [35]), [(1 + Math.SQRT1_2) / 2]);
  assertRates(rates("cosine_with_restarts", STEPS), [0, 0.5, 1, 0.5, 0]);
  assertRates(rates("polynomial", STEPS), [0, 0.5, 1, 0.5 + 0.5e-7, 1e-7]);
  assertRates(rates("inverse_sqrt", STEPS), [0, 0.5, 1, 1 / Math.sqrt(6), 1 / Math.sqrt(11)]);
});

test("past the end, schedules that decay stay at their end", () => {
  assertRates(rates("linear", [200]), [0]);
  assertRates(rates("cosine_with_restarts", [200]), [0]);
  assertRates(rates("polynomial", [200]), [1e-7]);
});

test("without warm-up every schedule starts at the peak", () => {
  for (const type of ["constant", "constant_with_warmup", "linear", "cosine", "inverse_sqrt"] as const) {
    assertRates(rates(type, [0], 0), [1]);
  }
});

test("every lr_scheduler_type the config accepts has a rate, during warm-up and after", () => {
  for (const type of LR_SCHEDULER_TYPES) {
    assert.ok(rates(type, STEPS).every(Number.isFinite));
  }
});

test("a warm-up below 1 is a share of all steps, rounded up", () => {
  assertRates(rates("constant_with_warmup", [0, 1, 11, 12], 0.1), [0, 1 / 11, 1, 1]);
  assertRates(rates("linear", [1, 12, 110], 0.105), [1 / 12, 1, 0]);
});

test("polynomial refuses to start below its end", () => {
  const config = { lr_scheduler_type: "polynomial", warmup_steps: 0, total_steps: 10 } as const;
  assert.throws(() => learningRate(0, { ...config, learning_rate: 1e-8 }), RangeError);
});

test("every schedule has transformers' rates at every step, with its arguments, warm-up and past the end", () => {
  const golden = JSON.parse(readFileSync(new URL("../golden/schedules.json", import.meta.url), "utf8"));
  const types = new Set<string>();
  for (const { rates, ...schedule } of golden.cases) {
    types.add(schedule.lr_scheduler_type);
    const config: ScheduleConfig = { ...schedule, learning_rate: golden.learning_rate };
    rates.forEach((rate: number, step: number) => {
      // Sums in another order: some 1e-16 of the peak.
      const error = Math.abs(learningRate(step, config) - rate);
      assert.ok(error < 1e-15, `${JSON.stringify(schedule)}, step ${step}: off by ${error}`);
    });
  }
  assert.deepEqual([...types].sort(), [...LR_SCHEDULER_TYPES].sort());
});

test("a warm-up of 1 is one step, not all of them", () => {
  assertRates(rates("constant_with_warmup", [0, 1, 2], 1), [0, 1, 1]);
});

test("polynomial refuses to start at its very end, and takes what is above", () => {
  const config = { lr_scheduler_type: "polynomial", warmup_steps: 0, total_steps: 10 } as const;
  assert.throws(() => learningRate(0, { ...config, learning_rate: 1e-7 }), /ends at 1e-7; start above it/);
  assert.equal(learningRate(0, { ...config, learning_rate: 1.5e-7 }), 1.5e-7);
});

test("warmup_stable_decay without a decay is at its floor from the end of the stable phase on", () => {
  const config: ScheduleConfig = {
    learning_rate: 1,
    lr_scheduler_type: "warmup_stable_decay",
    lr_scheduler_kwargs: { num_decay_steps: 0, num_stable_steps: 3, min_lr_ratio: 0.25 },
    warmup_steps: 0,
    total_steps: 9,
  };
  assert.deepEqual([2, 3, 4].map((step) => learningRate(step, config)), [1, 0.25, 0.25]);
});
