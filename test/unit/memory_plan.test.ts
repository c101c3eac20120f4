import assert from "node:assert/strict";
import { test } from "node:test";
import { batchShape } from "../../src/config/batch.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import { type RunConfig, sweepRuns } from "../../src/config/sweep.ts";
import { fittingPlan, type planMemory, type RunModels } from "../../src/train/memory_plan.ts";

const DEFAULTS = sweepRuns(defaultConfig())[0]!;

type Passes = Parameters<typeof planMemory>[3];

/** Plans a batch by what its passes take, and says which were tried. */
async function planned(
  size: number,
  budgetBytes: number,
  bytesOf: (passes: Passes) => number = ({ rowsPerPass }) => rowsPerPass!,
  settings: Partial<RunConfig> = { gradient_checkpointing: false },
  isSoftware = true,
  ranks = { rank: 0, size: 1 },
) {
  const config = { ...DEFAULTS, per_device_train_batch_size: size, num_generations: 2, ...settings };
  const tried: Passes[] = [];
  const plan = await fittingPlan(
    {} as RunModels,
    config,
    batchShape(config, ranks.size),
    { budgetBytes, isSoftware },
    (...asked) => {
      const [, , , passes] = asked;
      tried.push(passes);
      const { rowsPerPass, recomputesLayers } = passes;
      return Promise.resolve({
        rowsPerPass: rowsPerPass!,
        recomputesLayers: recomputesLayers === true,
        parts: [],
        peakBytes: bytesOf(passes),
        kernels: [],
      });
    },
    ranks,
  );
  return { plan, passes: tried, tried: tried.map(({ rowsPerPass }) => rowsPerPass!) };
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
  const rowsTried = async (size: number) => (await planned(size, 0)).tried;
  assert.deepEqual(await rowsTried(14), [14, 7, 2, 1]);
  assert.deepEqual(await rowsTried(60), [60, 30, 15, 6, 3, 1]);
  assert.deepEqual(await rowsTried(64), [64, 32, 16, 8, 4, 2, 1]);
  assert.deepEqual(await rowsTried(13), [13, 1]);
  assert.deepEqual(await rowsTried(1), [1]);
});

test("memory that is just enough is enough", async () => {
  assert.deepEqual((await planned(14, 14)).tried, [14]);
  assert.deepEqual((await planned(14, 13)).plan.rowsPerPass, 7);
});

const keptTakesTen = ({ rowsPerPass, recomputesLayers }: Passes) =>
  rowsPerPass! * (recomputesLayers ? 1 : 10);
const triesOf = ({ passes }: { passes: Passes[] }) =>
  passes.map(({ rowsPerPass, recomputesLayers }) => `${recomputesLayers ? "again" : "kept"} ${rowsPerPass}`);

test("layers run again in backward only where what they make does not fit, in passes that fill the GPU", async () => {
  const settings = { gradient_checkpointing: "auto", max_completion_length: 256 } as const;
  const plan = (budget: number, more: Partial<RunConfig> = {}) =>
    planned(8, budget, keptTakesTen, { ...settings, ...more });
  assert.deepEqual(triesOf(await plan(80)), ["kept 8"]);
  assert.deepEqual(triesOf(await plan(20)), ["kept 8", "kept 4", "kept 2"]);
  assert.deepEqual(triesOf(await plan(19)), ["kept 8", "kept 4", "kept 2", "again 8"]);
  assert.deepEqual(triesOf(await plan(4)), ["kept 8", "kept 4", "kept 2", "again 8", "again 4"]);
  assert.deepEqual(triesOf(await plan(19, { max_completion_length: 32 })), ["kept 8", "again 8"]);
});

test("what is said of layers is kept to, and where memory is not known the plan leaves it to the model", async () => {
  for (const gradient_checkpointing of [true, false]) {
    const { passes } = await planned(8, 4, keptTakesTen, { gradient_checkpointing });
    assert.ok(passes.every(({ recomputesLayers }) => recomputesLayers === null));
  }
  const { passes } = await planned(8, Infinity, keptTakesTen, { gradient_checkpointing: "auto" });
  assert.deepEqual(passes, [{ rowsPerPass: 8, recomputesLayers: null }]);
});

test("on a GPU several micro-batches of a step are trained on at a time, until they fill it", async () => {
  const triedBy = async (
    size: number,
    settings: Partial<RunConfig>,
    { budget = 1e9, isSoftware = false } = {},
  ) =>
    (await planned(size, budget, undefined, { gradient_checkpointing: false, ...settings }, isSoftware))
      .tried;
  const steps = { max_completion_length: 512, gradient_accumulation_steps: 60 };
  assert.deepEqual(await triedBy(1, steps), [4]);
  assert.deepEqual(await triedBy(2, steps), [4]);
  assert.deepEqual(await triedBy(8, steps), [8], "one fills it");
  assert.deepEqual(
    await triedBy(1, { ...steps, gradient_accumulation_steps: 6 }),
    [3],
    "a step is whole passes",
  );
  assert.deepEqual(await triedBy(1, steps, { budget: 1 }), [4, 2, 1], "memory is short");
  assert.deepEqual(await triedBy(1, steps, { isSoftware: true }), [1], "on a CPU");
  assert.deepEqual(await triedBy(1, steps, { budget: Infinity }), [1], "nobody knows what fits");
});

test("ranks sum layers in every pass only where whole gradients have no room, and then in the fewest passes", async () => {
  const settings = { gradient_checkpointing: "auto", gradient_accumulation_steps: 12 } as const;
  const ranks = { rank: 0, size: 4 };
  // Whole gradients take 100; layers that run again halve what a row takes.
  const bytesOf = ({ rowsPerPass, recomputesLayers, sumsLayers }: Passes) =>
    (sumsLayers ? 0 : 100) + rowsPerPass! * (recomputesLayers ? 1 : 2);
  const of = (budget: number, size = 4) => planned(1, budget, bytesOf, settings, false, { ...ranks, size });
  const roomy = await of(102);
  assert.ok(roomy.passes.every(({ sumsLayers }) => !sumsLayers));
  const tight = await of(90);
  const layered = tight.passes.filter(({ sumsLayers }) => sumsLayers);
  assert.deepEqual(layered, [{ rowsPerPass: 12, recomputesLayers: true, sumsLayers: true, ranks }]);
  const tighter = await of(7);
  assert.deepEqual(tighter.passes.flatMap(({ sumsLayers, rowsPerPass }) => sumsLayers ? [rowsPerPass] : []), [
    12,
    6,
  ]);
  // One process has nobody to sum with.
  assert.ok((await of(90, 1)).passes.every(({ sumsLayers }) => !sumsLayers));
});
