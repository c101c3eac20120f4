import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { batchProblem, batchShape, totalSteps } from "../../src/config/batch.ts";

function batch(perDevice: number, accumulation: number, generations: number) {
  return {
    per_device_train_batch_size: perDevice,
    gradient_accumulation_steps: accumulation,
    num_generations: generations,
  };
}

test("the alignment run has 60 completions of 2 prompts, on 1 device or on 4", () => {
  assert.deepEqual(batchShape(batch(1, 60, 30)), { completionsPerStep: 60, promptsPerStep: 2 });
  assert.deepEqual(batchShape(batch(1, 15, 30), 4), { completionsPerStep: 60, promptsPerStep: 2 });
});

test("a group needs two completions", () => {
  assert.throws(() => batchShape(batch(1, 4, 1)), /num_generations must be at least 2, got 1/);
});

test("every value that the error names makes a batch that fits", () => {
  const size = fc.integer({ min: 1, max: 64 });
  const world = fc.integer({ min: 1, max: 8 });
  fc.assert(
    fc.property(size, size, fc.integer({ min: 2, max: 64 }), world, (perDevice, steps, group, ranks) => {
      const problem = batchProblem(batch(perDevice, steps, group), ranks);
      if (problem === null) {
        assert.equal((perDevice * ranks * steps) % group, 0);
        return;
      }
      const [accumulation, generations] = problem.split("set ")[1]!.split("num_generations");
      for (const named of accumulation!.match(/\d+/g)!) {
        assert.equal(batchProblem(batch(perDevice, Number(named), group), ranks), null);
      }
      for (const named of generations?.match(/\d+/g) ?? []) {
        assert.equal(batchProblem(batch(perDevice, steps, Number(named)), ranks), null);
      }
    }),
  );
});

test("totalSteps() is max_steps, or the epochs in whole steps when max_steps is -1", () => {
  assert.equal(totalSteps({ max_steps: 500, num_train_epochs: 1 }, 100, 2), 500);
  assert.equal(totalSteps({ max_steps: -1, num_train_epochs: 1 }, 100, 3), 34);
  assert.equal(totalSteps({ max_steps: -1, num_train_epochs: 2.5 }, 100, 2), 125);
});
