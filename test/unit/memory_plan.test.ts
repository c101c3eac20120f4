import assert from "node:assert/strict";
import { test } from "node:test";
import { batchShape } from "../../src/config/batch.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import { fittingPlan, type RunModels } from "../../src/train/memory_plan.ts";

const DEFAULTS = sweepRuns(defaultConfig())[0]!;

/** Plans a batch of `size` where a pass of n rows takes n bytes, and says which passes were tried. */
async function planned(size: number, budgetBytes: number) {
  const config = { ...DEFAULTS, per_device_train_batch_size: size, num_generations: 2 };
  const tried: number[] = [];
  const plan = await fittingPlan({} as RunModels, config, batchShape(config), budgetBytes, (...asked) => {
    const [, , , rowsPerPass] = asked;
    tried.push(rowsPerPass);
    return Promise.resolve({ rowsPerPass, parts: [], peakBytes: rowsPerPass, kernels: [] });
  });
  return { plan, tried };
}

test("rows per pass divide every batch size from 1 to 64, fit the memory, and begin with the whole batch", async () => {
  for (let size = 1; size <= 64; size++) {
    for (let budget = 0; budget <= size; budget++) {
      const { plan, tried } = await planned(size, budget);
      const where = `batch ${size}, memory for ${budget}: tried ${tried}`;
      assert.equal(tried[0], size, where);
      for (const rows of tried) assert.equal(size % rows, 0, where);
      assert.equal(plan.rowsPerPass, tried.at(-1), where);
      if (budget > 0) assert.ok(plan.peakBytes <= budget, where);
      else assert.equal(plan.rowsPerPass, 1, where);
      // What was tried before the plan that fits did not fit.
      assert.ok(tried.slice(0, -1).every((rows) => rows > budget), where);
    }
  }
});

test("each try is the largest divisor of the batch in at most half of the rows before", async () => {
  const triesOf = async (size: number) => (await planned(size, 0)).tried;
  assert.deepEqual(await triesOf(14), [14, 7, 2, 1]);
  assert.deepEqual(await triesOf(60), [60, 30, 15, 6, 3, 1]);
  assert.deepEqual(await triesOf(64), [64, 32, 16, 8, 4, 2, 1]);
  assert.deepEqual(await triesOf(13), [13, 1]);
  assert.deepEqual(await triesOf(1), [1]);
});

test("memory that is just enough is enough", async () => {
  assert.deepEqual((await planned(14, 14)).tried, [14]);
  assert.deepEqual((await planned(14, 13)).plan.rowsPerPass, 7);
});
