import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { batchProblem, batchShape, totalSteps } from "../../src/config/batch.ts";

function batch(perDevice: number, accumulation: number, generations: number) {
  return {
    algorithm: "grpo" as const,
    es_batch_size: 200,
    es_population_size: 30,
    per_device_train_batch_size: perDevice,
    gradient_accumulation_steps: accumulation,
    steps_per_generation: null as number | null,
    num_iterations: 1,
    num_generations: generations,
  };
}

test("the alignment run has 60 completions of 2 prompts, on 1 device or on 4", () => {
  const sampled = { completionsPerGeneration: 60, promptsPerGeneration: 2, updatesPerGeneration: 1 };
  assert.deepEqual(batchShape(batch(1, 60, 30)), { ...sampled, stepsPerGeneration: 60 });
  assert.deepEqual(batchShape(batch(1, 15, 30), 4), { ...sampled, stepsPerGeneration: 15 });
});

test("steps_per_generation samples more at a time, num_iterations trains on it more often", () => {
  // 4 completions x 12 passes = 48 completions; steps of 3 passes: 4, twice over: 8.
  const shape = batchShape({ ...batch(4, 3, 8), steps_per_generation: 12, num_iterations: 2 });
  assert.deepEqual(shape, {
    completionsPerGeneration: 48,
    promptsPerGeneration: 6,
    stepsPerGeneration: 12,
    updatesPerGeneration: 8,
  });
});

test("a generation batch is trained on in whole optimizer steps", () => {
  assert.throws(
    () => batchShape({ ...batch(2, 4, 2), steps_per_generation: 6 }),
    /steps_per_generation must be a multiple of gradient_accumulation_steps = 4, got 6.*set 4 or 8/,
  );
});

test("a group needs two completions", () => {
  assert.throws(() => batchShape(batch(1, 4, 1)), /num_generations must be at least 2, got 1/);
});

test("every value that the error names makes a batch that fits", () => {
  const size = fc.integer({ min: 1, max: 64 });
  const world = fc.integer({ min: 1, max: 8 });
  const group = fc.integer({ min: 2, max: 64 });
  const perGeneration = fc.option(fc.integer({ min: 1, max: 5 }));
  fc.assert(
    fc.property(size, size, group, world, perGeneration, (perDevice, steps, group, ranks, updates) => {
      const config = { ...batch(perDevice, steps, group), steps_per_generation: updates && updates * steps };
      const key = updates === null ? "gradient_accumulation_steps" : "steps_per_generation";
      const problem = batchProblem(config, ranks);
      if (problem === null) {
        assert.equal((perDevice * ranks * steps * (updates ?? 1)) % group, 0);
        return;
      }
      const [passes, generations] = problem.split("set ")[1]!.split("num_generations");
      for (const named of passes!.match(/\d+/g)!) {
        assert.equal(batchProblem({ ...config, [key]: Number(named) }, ranks), null);
      }
      for (const named of generations?.match(/\d+/g) ?? []) {
        assert.equal(batchProblem({ ...config, num_generations: Number(named) }, ranks), null);
      }
    }),
  );
});

test("totalSteps() is max_steps, or the epochs in whole generation batches when max_steps is -1", () => {
  const shape = (promptsPerGeneration: number, updatesPerGeneration = 1) => ({
    completionsPerGeneration: 2 * promptsPerGeneration,
    stepsPerGeneration: updatesPerGeneration,
    promptsPerGeneration,
    updatesPerGeneration,
  });
  assert.equal(totalSteps({ max_steps: 500, num_train_epochs: 1 }, 100, shape(2)), 500);
  assert.equal(totalSteps({ max_steps: -1, num_train_epochs: 1 }, 100, shape(3)), 34);
  assert.equal(totalSteps({ max_steps: -1, num_train_epochs: 2.5 }, 100, shape(2)), 125);
  assert.equal(totalSteps({ max_steps: -1, num_train_epochs: 1 }, 100, shape(3, 4)), 136);
  assert.throws(
    () => totalSteps({ max_steps: 10, num_train_epochs: 1 }, 100, shape(3, 4)),
    /got 10; set 8 or 12/,
  );
});

test("the values that the error names are the nearest below and above that fit", () => {
  const size = fc.integer({ min: 1, max: 24 });
  const ranks = fc.integer({ min: 1, max: 4 });
  const group = fc.integer({ min: 2, max: 24 });
  const perGeneration = fc.option(fc.integer({ min: 1, max: 4 }));
  fc.assert(
    fc.property(size, size, group, ranks, perGeneration, (perDevice, steps, group, ranks, updates) => {
      const config = { ...batch(perDevice, steps, group), steps_per_generation: updates && updates * steps };
      const problem = batchProblem(config, ranks);
      if (problem === null) return;
      const fits = (change: object) => batchProblem({ ...config, ...change }, ranks) === null;
      const nearest = (wanted: number, most: number, change: (value: number) => object) => {
        const below = Array.from({ length: wanted - 1 }, (_, i) => wanted - 1 - i).find((n) =>
          fits(change(n))
        );
        const above = Array.from({ length: most }, (_, i) => wanted + 1 + i).find((n) => fits(change(n)));
        return [below, above].filter((value) => value !== undefined).join(" or ");
      };
      const key = updates === null ? "gradient_accumulation_steps" : "steps_per_generation";
      const passes = (updates ?? 1) * steps;
      const completions = perDevice * ranks * passes;
      const groups = nearest(group, completions, (n) => ({ num_generations: n }));
      assert.ok(
        problem.includes(`set ${key} to ${nearest(passes, group * steps, (n) => ({ [key]: n }))}`),
        problem,
      );
      assert.equal(/num_generations to (.*)$/.exec(problem)?.[1] ?? "", groups);
    }),
  );
});

test("devices are counted in words, and one is assumed", () => {
  assert.match(batchProblem(batch(1, 3, 2), 2) ?? "", /^$/);
  assert.match(batchProblem(batch(1, 3, 4), 2)!, /Cannot group 6 completions .* \* 2 devices \* /);
  assert.match(batchProblem(batch(1, 3, 4))!, /Cannot group 3 completions .* \* 1 device \* /);
  assert.equal(batchProblem(batch(1, 4, 4)), null);
});

test("a batch whose completions make no group at all names no number of generations", () => {
  assert.match(batchProblem(batch(1, 1, 3))!, /set gradient_accumulation_steps to 3$/);
});

test("a single step is a run of one step", () => {
  assert.equal(totalSteps({ max_steps: 1, num_train_epochs: 9 }, 100, batchShape(batch(1, 4, 2))), 1);
});

test("no fraction of an epoch makes a step too many or too few", () => {
  // p/q epochs of n prompts, two to a batch: ceil(p n / 2 q), counted in whole numbers.
  for (let q = 1; q <= 30; q++) {
    for (let p = 1; p <= 3 * q; p++) {
      for (const n of [1, 2, 3, 10, 100, 101, 997, 1977, 12_000]) {
        const shape = batchShape(batch(1, 4, 2));
        const steps = totalSteps({ max_steps: -1, num_train_epochs: p / q }, n, shape);
        assert.equal(steps, Math.floor((p * n + 2 * q - 1) / (2 * q)), `${p}/${q} epochs of ${n} prompts`);
      }
    }
  }
  const shape = batchShape(batch(1, 2, 2));
  for (let hundredths = 1; hundredths <= 1000; hundredths++) {
    assert.equal(totalSteps({ max_steps: -1, num_train_epochs: hundredths / 100 }, 100, shape), hundredths);
  }
});

test("the least share of an epoch is one step", () => {
  assert.equal(totalSteps({ max_steps: -1, num_train_epochs: 1e-12 }, 3, batchShape(batch(1, 4, 2))), 1);
});
