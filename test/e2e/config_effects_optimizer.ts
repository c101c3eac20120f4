/** Effects of the group "Optimizer and batch". */
import assert from "node:assert/strict";
import { join } from "node:path";
import { assertClose, assertMore, changesNothing, type Effect } from "./config_effect.ts";
import { momentsOf, plannedBytes, requestSizes, rowsOf, tensorsIn, weightsOf } from "./config_read.ts";
import { type Ran, scratch, type Settings } from "./config_run.ts";

const ONE_STEP: Settings = { max_steps: 1 };

const startWeights = () => tensorsIn(join(scratch("policy"), "model.safetensors"));

const isMatrix = (name: string) => !name.includes("norm");

/** Every value of every weight before and after the first update, with the average of its gradient after it. */
function* firstMoves(ran: Ran) {
  const after = weightsOf(ran), moments = momentsOf(ran, 1);
  for (const [name, { values }] of startWeights()) {
    for (const [i, start] of values.entries()) {
      const average = moments.get(`${name}.exp_avg`)!.values[i];
      yield { name, i, start, moved: after.get(name)!.values[i] - start, average };
    }
  }
}

const rates = (ran: Ran) => rowsOf(ran).map((row) => row.learning_rate!);

function assertRates(ran: Ran, expected: readonly number[]): void {
  assert.equal(rates(ran).length, expected.length);
  rates(ran).forEach((rate, i) => assert.ok(Math.abs(rate - expected[i]) < 1e-12, `step ${i + 1}: ${rate}`));
}

/** Largest and smallest quotient of what two runs hold of a moment after their first update, from equal gradients. */
function momentQuotients(changed: Ran, without: Ran, moment: "exp_avg" | "exp_avg_sq"): [number, number] {
  const before = momentsOf(without, 1);
  const quotients = [...momentsOf(changed, 1)].filter(([name]) => name.endsWith(`.${moment}`))
    .flatMap(([name, { values }]) => Array.from(values, (value, i) => value / before.get(name)!.values[i]))
    .filter(Number.isFinite);
  return [Math.min(...quotients), Math.max(...quotients)];
}

const SCHEDULE: readonly Effect[] = [
  {
    key: "learning_rate",
    value: 0.03,
    seen: "it is logged, and the first update moves each weight with a gradient by just that",
    given: ONE_STEP,
    check(changed) {
      assertRates(changed, [0.03]);
      let moves = 0;
      for (const { name, i, moved, average } of firstMoves(changed)) {
        if (Math.abs(average) < 1e-4) continue; // AdamW divides by |g| + 1e-8
        moves++;
        assertClose(moved, -0.03 * Math.sign(average), 2e-3, `${name}[${i}]`); // f32 of weights near 1
      }
      assertMore(moves, 500);
    },
  },
  {
    key: "lr_scheduler_type",
    value: "linear",
    seen: "the logged rate falls linearly to the last step",
    given: { max_steps: 4 },
    check(changed, without) {
      assertRates(changed, [0.01, 0.0075, 0.005, 0.0025]);
      assertRates(without, [0.01, 0.01, 0.01, 0.01]);
    },
  },
  {
    key: "lr_scheduler_kwargs",
    value: { power: 2, lr_end: 0.002 },
    seen: "a polynomial schedule falls by that power to that end",
    given: { max_steps: 4, lr_scheduler_type: "polynomial" },
    check(changed) {
      assertRates(changed, [1, 3 / 4, 1 / 2, 1 / 4].map((left) => 0.002 + 0.008 * left ** 2));
    },
  },
  {
    key: "warmup_steps",
    value: 2,
    seen: "the logged rate rises from 0 over two steps",
    given: { max_steps: 4, lr_scheduler_type: "constant_with_warmup" },
    check(changed, without) {
      assertRates(changed, [0, 0.005, 0.01, 0.01]);
      assertRates(without, [0.01, 0.01, 0.01, 0.01]);
    },
  },
  {
    key: "warmup_steps",
    value: 0.75,
    seen: "below 1 it is a share of all steps",
    given: { max_steps: 4, lr_scheduler_type: "constant_with_warmup" },
    check: (changed) => assertRates(changed, [0, 0.01 / 3, 0.02 / 3, 0.01]),
  },
  {
    key: "num_train_epochs",
    value: 1.5,
    seen: "with max_steps -1 the run takes the steps of so many passes over the six prompts",
    given: { max_steps: -1 },
    check: (changed, without) => assert.deepEqual([rowsOf(changed).length, rowsOf(without).length], [5, 3]),
  },
  {
    key: "max_steps",
    value: 4,
    seen: "the run takes four steps",
    check: (changed, without) => assert.deepEqual([rowsOf(changed).length, rowsOf(without).length], [4, 2]),
  },
];

const BATCH: readonly Effect[] = [
  {
    key: "per_device_train_batch_size",
    value: 8,
    seen: "a pass has twice as many completions, and so has a step",
    check(changed, without) {
      assert.deepEqual([requestSizes(changed), requestSizes(without)], [[16, 16], [8, 8]]);
      assert.match(changed.output, /8 completions x 2 accumulation steps = 16 completions/);
    },
  },
  {
    key: "gradient_accumulation_steps",
    value: 4,
    seen: "a step has twice as many passes",
    check(changed) {
      assert.deepEqual(requestSizes(changed), [16, 16]);
      assert.match(changed.output, /4 completions x 4 accumulation steps = 16 completions/);
    },
  },
  {
    key: "steps_per_generation",
    value: 4,
    seen: "a generation batch of sixteen makes two steps",
    check(changed) {
      assert.deepEqual(requestSizes(changed), [16]);
      assert.deepEqual(rowsOf(changed).map(({ step }) => step), [2]);
    },
  },
  {
    key: "gradient_checkpointing",
    value: true,
    seen: "the training pass takes less memory, with the same bits",
    check(changed, without) {
      assertMore(plannedBytes(without, "training pass"), plannedBytes(changed, "training pass"));
      changesNothing(changed, without);
    },
  },
  {
    key: "gpu_memory_gib",
    value: 0.0005,
    seen: "a run that takes more than half a mebibyte is refused",
    fails: /needs .* of GPU memory .*there are 524 KiB \(gpu_memory_gib\)/,
  },
  ...([
    ["zero_stage", 2],
    ["reduce_bucket_size", 1000],
    ["allgather_bucket_size", 1000],
    ["overlap_comm", false],
    ["communication_dtype", "bfloat16"],
  ] as const).map(([key, value]): Effect => ({
    key,
    value,
    seen:
      "one process alone exchanges nothing, and nothing changes (test/cluster/zero_in_process.test.ts has several)",
    check: changesNothing,
  })),
  {
    key: "deepspeed_config",
    value: "configs/ds_zero2.json",
    seen: "its batch size must be that of the settings",
    fails:
      /ds_zero2\.json: train_micro_batch_size_per_gpu must agree with per_device_train_batch_size = \d+, got 1/,
  },
];

const ADAMW: readonly Effect[] = [
  {
    key: "weight_decay",
    value: 0.5,
    seen: "the first update also takes learning_rate * 0.5 of each matrix, and nothing of norms",
    given: ONE_STEP,
    check(changed, without) {
      const plain = weightsOf(without), start = startWeights();
      for (const [name, { values }] of weightsOf(changed)) {
        values.forEach((value, i) => {
          const decay = isMatrix(name) ? 0.01 * 0.5 * start.get(name)!.values[i] : 0;
          assert.ok(Math.abs(plain.get(name)!.values[i] - decay - value) < 3e-7, `${name}[${i}]`); // f32 near 1
        });
      }
    },
  },
  {
    key: "adam_beta1",
    value: 0.5,
    seen: "after the first update the average holds half of the gradient, not a tenth",
    given: ONE_STEP,
    check(changed, without) {
      for (const quotient of momentQuotients(changed, without, "exp_avg")) assertClose(quotient, 5, 1e-4);
    },
  },
  {
    key: "adam_beta2",
    value: 0.9,
    seen: "after the first update the average holds a tenth of the squared gradient, not a thousandth",
    given: ONE_STEP,
    check(changed, without) {
      // Squares of small gradients are near the end of f32's range, and 1 - 0.999 is rounded in f32.
      for (const quotient of momentQuotients(changed, without, "exp_avg_sq")) {
        assertClose(quotient, 100, 1e-3);
      }
    },
  },
  {
    key: "adam_epsilon",
    value: 0.5,
    seen: "the first update is learning_rate * g / (|g| + 0.5)",
    given: ONE_STEP,
    check(changed) {
      for (const { name, i, moved, average } of firstMoves(changed)) {
        const gradient = average / (1 - 0.9);
        const expected = -0.01 * gradient / (Math.abs(gradient) + 0.5);
        assert.ok(Math.abs(moved - expected) < 3e-7, `${name}[${i}]`); // f32 of weights near 1
      }
    },
  },
  {
    key: "max_grad_norm",
    value: 0.25,
    seen: "the gradient that is averaged has that norm; the logged one is from before",
    given: ONE_STEP,
    check(changed, without) {
      let squares = 0;
      for (const { average } of firstMoves(changed)) squares += (average / (1 - 0.9)) ** 2;
      assertClose(Math.sqrt(squares), 0.25, 1e-4); // f32, and 1e-6 beside the norm, as in torch
      assertMore(rowsOf(changed)[0].grad_norm!, 1);
      assert.equal(rowsOf(changed)[0].grad_norm, rowsOf(without)[0].grad_norm);
    },
  },
  {
    key: "max_nonfinite_steps",
    value: 2,
    seen: "steps whose gradient is beyond f32 are skipped; after so many in a row the run ends",
    given: {
      ...ONE_STEP,
      max_steps: 2,
      lambda_adapt: false,
      lambda_cost: 1e30,
      lambda_max: 1e30,
      scale_rewards: "none",
    },
    fails: /^Training diverged at step 2: .*2 steps in a row skipped.*nonfinite.step-2\.jsonl/,
    check: (_, without) => {
      assert.deepEqual(
        rowsOf(without).map(({ nonfinite_steps, loss }) => [nonfinite_steps, loss]),
        [[1, undefined], [1, undefined]],
      );
    },
  },
];

export const OPTIMIZER_EFFECTS: readonly Effect[] = [...SCHEDULE, ...BATCH, ...ADAMW];
