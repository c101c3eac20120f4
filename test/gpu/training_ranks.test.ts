/** Trainers side by side, as ranks of one run: what they agree on, and that it is what one trainer would have done. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { readRollouts } from "../../src/assembly/rollouts.ts";
import type { RunConfig } from "../../src/config/sweep.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readTensor, writeTensor } from "../../src/gpu/tensors.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import { trainableWeights } from "../../src/policy/adapters.ts";
import type { Policy } from "../../src/policy/trunk.ts";
import type { MetricName, MetricRow } from "../../src/tracking/metrics.ts";
import type { RolloutRecord } from "../../src/tracking/rollout_records.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import {
  assertSameRun,
  checkpointsIn,
  evaluation,
  finalWeightsIn,
  rowsIn,
  stepsOf,
  textScores,
  type TinyRun,
  tinyRun,
  type TinyRunOptions,
} from "./tiny_run.ts";
import { tinyPolicy } from "./tiny_policy.ts";

before(async () => void await openGpu());
after(closeGpu);

type Weights = Record<string, Float32Array | Int32Array>;

async function weightsOf(policy: Policy): Promise<Weights> {
  const weights: Weights = {};
  for (const { name, tensor } of trainableWeights(policy)) weights[name] = await readTensor(tensor);
  return weights;
}

interface Ranks {
  runs: TinyRun[];
  /** As each rank has them at its end. */
  weights: Weights[];
}

/** Trains as two ranks, or more. @param of options of one of them, beside those of all */
async function trainAsTwo(
  dirOf: string | ((rank: number) => string),
  options: TinyRunOptions,
  of: (rank: number) => TinyRunOptions = () => ({}),
  size = 2,
): Promise<Ranks> {
  const weights: Weights[] = [];
  const runs = await Promise.all(
    inProcessRanks(size).map((communicator, rank) =>
      tinyRun(typeof dirOf === "string" ? dirOf : dirOf(rank), {
        ...options,
        ...of(rank),
        communicator,
        onEnd: async (policy) => void (weights[rank] = await weightsOf(policy)),
      })
    ),
  );
  return { runs, weights };
}

/** What every run here begins with; one rank has in two passes what each of two has in one. */
const SETTINGS: Partial<RunConfig> = {
  save_steps: 2,
  debug_log_every: 1,
  scatter_every: 2,
  zero_stage: 0,
  log_completions: "all",
};
const PASSES: Partial<RunConfig> = { gradient_accumulation_steps: 2 };

const errorsOf = ({ runs }: Ranks) => runs.map(({ error }) => error?.message ?? null);

const CASES: [name: string, settings: Partial<RunConfig>][] = [
  ["grpo with a reference", { beta: 0.02 }],
  [
    "dapo, whose weights count the tokens of all ranks, with advantages scaled by the whole batch",
    { loss_type: "dapo", scale_rewards: "batch" },
  ],
  ["bnpo, whose weights count the micro-batches of all ranks", { loss_type: "bnpo" }],
  ["cispo, twice over the batch", { loss_type: "cispo", num_iterations: 2 }],
  ["dapo with an entropy bonus, whose mean counts the tokens of all ranks", {
    loss_type: "dapo",
    entropy_coef: 0.05,
  }],
  ["vespo on the tokens of highest entropy of all ranks, with a reference that follows", {
    loss_type: "vespo",
    importance_sampling_mode: "token_truncate",
    num_iterations: 2,
    beta: 0.1,
    sync_ref_model: true,
    ref_model_sync_steps: 3,
    top_entropy_quantile: 0.5,
    entropy_coef: 0.02,
    off_policy_mask_threshold: 0.001,
  }],
  ["ratios of sequences", { importance_sampling_level: "sequence", num_iterations: 2 }],
];

/** What a run keeps of its completions, without what is computed in f32 from weights that differ a little. */
async function keptIn(runDir: string): Promise<object[]> {
  const kept: RolloutRecord[] = [];
  for await (const record of readRollouts(runDir)) kept.push(record);
  assert.ok(kept.length > 0);
  assert.ok(kept.every(({ logprobs, completion_ids }) => logprobs!.length === completion_ids.length));
  return kept.map(({ logprobs: _logprobs, ref_logprobs, ...record }) => ({
    ...record,
    refCount: ref_logprobs?.length,
  }));
}

/** What is computed in f32 from the weights; all else depends on the texts alone. */
const COMPUTED: readonly MetricName[] = [
  "loss",
  "policy_loss",
  "grad_norm",
  "kl",
  "entropy",
  "vespo/phi_seq_mean",
];

/**
 * Of the largest weight or of 1, or of the largest value of a column. Two ranks each add up their own gradients and
 * then both sums, one adds all in a row: f32 sums in another order, 1.2e-6 at the most.
 */
const TOLERANCE = 1e-5;

function assertNear(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  unit: number,
  name: string,
): void {
  assert.equal(actual.length, expected.length, name);
  for (let i = 0; i < expected.length; i++) {
    const off = Math.abs(actual[i] - expected[i]);
    assert.ok(off <= TOLERANCE * unit, `${name}[${i}] is ${actual[i]}, of one rank ${expected[i]}`);
  }
}

function assertRowsNear(actual: readonly MetricRow[], expected: readonly MetricRow[]): void {
  const without = (rows: readonly MetricRow[]) =>
    rows.map((row) =>
      Object.fromEntries(Object.entries(row).filter(([name]) => !COMPUTED.some((c) => c === name)))
    );
  assert.deepEqual(without(actual), without(expected));
  for (const name of COMPUTED) {
    const of = (rows: readonly MetricRow[]) => rows.map((row) => row[name] ?? 0);
    const largest = of(expected).reduce((most, value) => Math.max(most, Math.abs(value)), 1);
    assertNear(of(actual), of(expected), largest, name);
  }
}

describe("two ranks", () => {
  for (const [name, change] of CASES) {
    it(`${name}: both end with the same weights and lambda, near those of one rank with the same batch`, () =>
      withScratchFolder(async (dir) => {
        const [two, one] = [join(dir, "two"), join(dir, "one")];
        const settings = { ...SETTINGS, ...change };
        const both = await trainAsTwo(two, { settings });
        assert.deepEqual(errorsOf(both), [null, null]);
        assert.deepEqual(both.runs.map(({ messages }) => messages), [[], []]);
        assert.deepEqual(both.weights[1], both.weights[0]);
        const lambdas = both.runs.map(({ result }) => result!.progress.lambdas);
        assert.deepEqual(lambdas[1], lambdas[0]);

        let weights: Weights = {};
        const alone = await tinyRun(one, {
          settings: { ...settings, ...PASSES },
          onEnd: async (policy) => void (weights = await weightsOf(policy)),
        });
        // Of the same texts, so to the bit, as is the scorer's share of each rank.
        assert.deepEqual(lambdas[0], alone.result!.progress.lambdas);
        const asked = both.runs[0].asked.map(({ completions }, i) => [
          ...completions,
          ...both.runs[1].asked[i].completions,
        ]);
        assert.deepEqual(asked, alone.asked.map(({ completions }) => completions));
        assertRowsNear(rowsIn(two), rowsIn(one));
        assert.ok(rowsIn(one).every((row) => row.grad_norm! > 0));
        // J = mean cost + d, and d is 0.
        assert.ok(rowsIn(two).every((row) => row["lambda/J_C_raw"] === row["cost/mean"]));
        const largest = Math.max(...Object.values(weights).flatMap((values) => [...values].map(Math.abs)));
        for (const [weight, values] of Object.entries(weights)) {
          assertNear(both.weights[0][weight], values, largest, weight);
        }
        // Rank 0 writes, of both: the same files, and in them the texts of both.
        const files = (run: string) =>
          readdirSync(run, { recursive: true }).filter((file) => !/tfevents/.test(String(file)));
        assert.deepEqual(files(two).sort(), files(one).sort());
        for (const file of readdirSync(join(one, "samples"))) {
          const contents = [two, one].map((run) => readFileSync(join(run, "samples", file), "utf8"));
          assert.equal(contents[0], contents[1], file);
        }
        assert.deepEqual(await keptIn(two), await keptIn(one));
        assert.deepEqual(both.runs[0].events.filter((event) => event === "describe"), ["describe"]);
        assert.ok(!both.runs[1].events.includes("describe"));
      }));
  }

  it("may have groups that lie across them: the completions and lambdas of one rank, to the bit", () =>
    withScratchFolder(async (dir) => {
      // 12 completions in groups of 6: four ranks of 3 have half a group each, two ranks of 6 a whole one.
      const split = (ranks: number): Partial<RunConfig> => ({
        ...SETTINGS,
        num_generations: 6,
        per_device_train_batch_size: 3,
        gradient_accumulation_steps: 4 / ranks,
      });
      const alone = await tinyRun(join(dir, "1"), { settings: split(1) });
      for (const ranks of [2, 4]) {
        const run = join(dir, `${ranks}`);
        const all = await trainAsTwo(run, { settings: split(ranks) }, undefined, ranks);
        assert.deepEqual(errorsOf(all), Array(ranks).fill(null));
        const asked = alone.asked.map((_, i) => all.runs.flatMap(({ asked }) => asked[i].completions));
        assert.deepEqual(asked, alone.asked.map(({ completions }) => completions));
        const prompts = alone.asked.map((_, i) => all.runs.flatMap(({ asked }) => asked[i].prompts));
        assert.deepEqual(prompts, alone.asked.map(({ prompts }) => prompts));
        for (const { result } of all.runs) {
          assert.deepEqual(result!.progress, alone.result!.progress);
        }
        assertRowsNear(rowsIn(run), rowsIn(join(dir, "1")));
        for (const weights of all.weights) assert.deepEqual(weights, all.weights[0]);
      }
    }));

  it("each keep a lambda of their own where they are told to, also over a resume by other ranks", () =>
    withScratchFolder(async (dir) => {
      const settings: Partial<RunConfig> = { ...SETTINGS, lambda_scope: "rank", max_steps: 2 };
      const { runs } = await trainAsTwo(dir, { settings });
      const [[first], [second]] = runs.map(({ result }) => result!.progress.lambdas);
      assert.notEqual(first.lambda, second.lambda);
      for (const { result, asked } of runs) {
        // J = mean cost of the rank's own completions, d being 0; ln lambda rises by lambda_lr times its average.
        const means = asked.map(({ completions }) => {
          const { costs } = textScores(completions);
          return costs.reduce((sum, cost) => sum + cost, 0) / costs.length;
        });
        const averages = [means[0], 0.9 * means[0] + 0.1 * means[1]];
        const expected = Math.exp(0.1 * (averages[0] + averages[1]));
        assert.ok(Math.abs(result!.progress.lambdas[0].lambda - expected) < 1e-12, `${expected}`);
      }
      assert.equal(rowsIn(dir)[1]["lambda/value"], first.lambda);
      const alone = await tinyRun(dir, { settings: { ...settings, ...PASSES } });
      assert.deepEqual([alone.error, alone.result!.progress.lambdas], [null, [first]]);
    }));

  it("end where their weights differ, and say which rank's", () =>
    withScratchFolder(async (dir) => {
      const settings = { ...SETTINGS, check_ranks_every: 2 };
      const policies: Policy[] = [];
      const off = (rank: number): TinyRunOptions => ({
        makePolicy: async () => policies[rank] = await tinyPolicy("float32"),
        onStep({ step }) {
          if (rank !== 1 || step !== 2) return;
          const { tensor } = trainableWeights(policies[rank]).at(-1)!;
          writeTensor(tensor, Float32Array.of(0.5), 4);
        },
      });
      for (const message of errorsOf(await trainAsTwo(dir, { settings }, off))) {
        assert.match(
          message!,
          /^The ranks hold different weights after step 2 \(rank 0 [0-9a-f]{12}, rank 1 [0-9a-f]{12}\)/,
        );
      }
      assert.deepEqual(checkpointsIn(dir), []);
    }));

  it("free what they took, and evaluate together", () =>
    withScratchFolder(async (dir) => {
      const before = tf.memory().numTensors;
      const { runs } = await trainAsTwo(dir, {
        settings: { ...SETTINGS, eval_every: 2 },
        evaluate: evaluation,
      });
      assert.equal(tf.memory().numTensors, before);
      for (const { events } of runs) {
        assert.deepEqual(events.filter((event) => event.startsWith("evaluate")), [
          "evaluate 2",
          "evaluate 4",
        ]);
      }
    }));

  it("stop together when one of them is asked to, and go on to where they would have come", () =>
    withScratchFolder(async (dir) => {
      const [whole, stopped] = [join(dir, "whole"), join(dir, "stopped")];
      await trainAsTwo(whole, { settings: SETTINGS });
      const first = await trainAsTwo(
        stopped,
        { settings: SETTINGS },
        (rank) => rank === 1 ? { stopAfter: 1 } : {},
      );
      assert.deepEqual(errorsOf(first), [null, null]);
      for (const { result, events } of first.runs) {
        assert.deepEqual([result!.finished, stepsOf(events)], [false, [1]]);
      }
      assert.deepEqual([checkpointsIn(stopped), finalWeightsIn(stopped)], [[1], []]);
      const rest = await trainAsTwo(stopped, { settings: SETTINGS });
      for (const { events } of rest.runs) assert.deepEqual(stepsOf(events), [2, 3, 4]);
      assertSameRun(stopped, whole, ["checkpoint-1"]);
    }));

  it("end together when one fails: the last whole step is saved, and both go on from it", () =>
    withScratchFolder(async (dir) => {
      const [whole, failed] = [join(dir, "whole"), join(dir, "failed")];
      const settings = { ...SETTINGS, save_steps: 0 };
      await trainAsTwo(whole, { settings });
      const gone = (rank: number): TinyRunOptions => ({
        score(request, completions) {
          if (rank === 1 && request === 3) throw new Error("the scorer is gone");
          return textScores(completions);
        },
      });
      assert.deepEqual(errorsOf(await trainAsTwo(failed, { settings }, gone)), [
        "Rank 1 has left the run, and no other can go on without it: the scorer is gone",
        "the scorer is gone",
      ]);
      assert.deepEqual([checkpointsIn(failed), finalWeightsIn(failed)], [[2], []]);
      assert.deepEqual(errorsOf(await trainAsTwo(failed, { settings })), [null, null]);
      assertSameRun(failed, whole);
    }));

  it("diverge together, whichever of them was given what they diverge by", () =>
    withScratchFolder(async (dir) => {
      const huge = (rank: number): TinyRunOptions => ({
        score: (_, completions) => {
          const scores = textScores(completions);
          return rank === 1
            ? { ...scores, rewards: completions.map((_, i) => i % 2 ? 1e39 : -1e39) }
            : scores;
        },
      });
      const errors = errorsOf(
        await trainAsTwo(
          dir,
          { settings: { ...SETTINGS, scale_rewards: "none", max_nonfinite_steps: 1 } },
          huge,
        ),
      );
      assert.match(errors[0]!, /^Training diverged at step 1: the loss is NaN/);
      assert.match(errors[1]!, /^Training diverged at step 1: the loss is NaN/);
      assert.deepEqual(checkpointsIn(dir), [1]);
      for (const rank of [0, 1]) {
        assert.ok(existsSync(join(dir, "nonfinite", `step-1.rank-${rank}.jsonl`)), `rank ${rank}`);
      }
    }));

  it("refuse completions that are no whole groups, and checkpoints that only one of them finds", () =>
    withScratchFolder(async (dir) => {
      const settings = { ...SETTINGS, num_generations: 3 };
      for (const message of errorsOf(await trainAsTwo(join(dir, "odd"), { settings }))) {
        assert.match(message!, /^Cannot group 8 completions \(.* \* 2 devices .*num_generations = 3; set /);
      }
      assert.deepEqual(readdirSync(join(dir, "odd")), []);
      const apart = (rank: number) => join(dir, `rank ${rank}`);
      await tinyRun(apart(1), { settings: { ...SETTINGS, ...PASSES }, stopAfter: 1 });
      for (const message of errorsOf(await trainAsTwo(apart, { settings: SETTINGS }))) {
        assert.match(
          message!,
          /^Ranks found different checkpoints: they would go on from steps 0, 1, and need the same/,
        );
      }
    }));
});
