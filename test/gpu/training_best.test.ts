/** Runs that look for their best step, and runs that go on with other settings, other prompts or without their log. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { trainedModel } from "../../src/assembly/evaluated_run.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { readRun } from "../../src/assembly/run_records.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import type { EvaluationOutcome } from "../../src/train/run.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import {
  assertSameRun,
  checkpointsIn,
  evaluation,
  finalWeightsIn,
  INPUTS,
  rowsIn,
  stepsOf,
  tinyRun,
} from "./tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

/** Evaluations that give these rewards, one after the other. */
function evaluations(rewards: readonly number[]): () => Promise<EvaluationOutcome> {
  const left = [...rewards];
  return async () => ({ ...await evaluation([1]), rewards: [left.shift() ?? NaN] });
}

const BY_REWARD = {
  metric_for_best_model: "mean_reward",
  eval_every: 1,
  save_steps: 0,
  max_steps: 6,
  lr_scheduler_type: "constant",
} as const;

const weightsOf = (dir: string) => readFileSync(join(dir, "model.safetensors"));

describe("the best step", () => {
  it("is saved whatever save_steps and save_total_limit are, and its weights are the final ones where that is wanted", () =>
    withScratchFolder(async (dir) => {
      const settings = { ...BY_REWARD, save_total_limit: 1, load_best_model_at_end: true };
      const { result, error, messages } = await tinyRun(dir, {
        settings,
        evaluate: evaluations([1, 3, 2, 2.5, 1, 0]),
      });
      assert.equal(error, null);
      assert.deepEqual(checkpointsIn(dir), [2, 6]);
      assert.ok(weightsOf(dir).equals(weightsOf(join(dir, "checkpoint-2"))));
      assert.ok(!weightsOf(dir).equals(weightsOf(join(dir, "checkpoint-6"))));
      assert.deepEqual([result?.best?.step, result?.best?.value, result?.best?.stale], [2, 3, 4]);
      assert.ok(messages.includes("Final weights are those of the best: eval/mean_reward 3 after step 2"));
      assert.equal((await trainedModel(dir))?.step, 2, "an evaluation of the folder is one of that step");
      // Wanted no more: the last step's, as of a run that never asked for the best.
      const again = await tinyRun(dir, { settings: { ...settings, load_best_model_at_end: false } });
      assert.deepEqual([again.error, again.asked], [null, []]);
      assert.ok(weightsOf(dir).equals(weightsOf(join(dir, "checkpoint-6"))));
      assert.equal((await trainedModel(dir))?.step, 6);
    }));

  it("whose checkpoint is gone at the end is no reason to write other weights as the best", () =>
    withScratchFolder(async (dir) => {
      const { error } = await tinyRun(dir, {
        settings: { ...BY_REWARD, load_best_model_at_end: true },
        evaluate: evaluations([3, 2, 1, 1, 1, 1]),
        onStep: ({ step }) => step === 6 && rmSync(join(dir, "checkpoint-1"), { recursive: true }),
      });
      assert.match(
        error!.message,
        /Cannot write the best model: .*checkpoint-1.*load_best_model_at_end=false/,
      );
      assert.deepEqual([checkpointsIn(dir), finalWeightsIn(dir)], [[6], []]);
    }));
});

describe("a run with early_stopping_patience", () => {
  const settings = { ...BY_REWARD, early_stopping_patience: 2, load_best_model_at_end: true };

  it("ends after so many evaluations without improvement, is finished, and goes on where there is more patience", () =>
    withScratchFolder(async (dir) => {
      const { events, messages, result } = await tinyRun(dir, {
        settings,
        evaluate: evaluations([1, 3, 2, 3]),
      });
      assert.deepEqual(stepsOf(events), [1, 2, 3, 4]);
      assert.equal(result?.finished, true);
      assert.match(
        messages.join("\n"),
        /^Ended early: the last 2 evaluations were no improvement .* after step 2$/m,
      );
      assert.ok(weightsOf(dir).equals(weightsOf(join(dir, "checkpoint-2"))));
      const again = await tinyRun(dir, { settings, evaluate: evaluations([]) });
      assert.deepEqual([again.asked, again.result?.finished], [[], true]);
      const more = { ...settings, early_stopping_patience: 3 };
      const rest = await tinyRun(dir, { settings: more, evaluate: evaluations([2.5, 9]) });
      assert.deepEqual(stepsOf(rest.events), [5]);
    }));

  // With 1 a checkpoint is written before its step's evaluation, which then the log alone knows.
  for (const save_steps of [0, 1]) {
    it(`stopped and resumed counts on, and equals one never stopped: save_steps ${save_steps}`, () =>
      withScratchFolder(async (dir) => {
        const [whole, stopped] = [join(dir, "whole"), join(dir, "stopped")];
        const values = [1, 3, 2, 3];
        const given = { settings: { ...settings, save_steps } };
        await tinyRun(whole, { ...given, evaluate: evaluations(values) });
        const first = await tinyRun(stopped, { ...given, evaluate: evaluations(values), stopAfter: 3 });
        const rest = await tinyRun(stopped, { ...given, evaluate: evaluations(values.slice(3)) });
        assert.deepEqual([...stepsOf(first.events), ...stepsOf(rest.events)], [1, 2, 3, 4]);
        assertSameRun(stopped, whole);
      }));
  }
});

describe("two ranks", () => {
  it("end early together and write the best; one rank that goes on from them counts on", () =>
    withScratchFolder(async (dir) => {
      const settings = {
        ...BY_REWARD,
        early_stopping_patience: 2,
        load_best_model_at_end: true,
        zero_stage: 0,
      } as const;
      const values = [1, 3, 2, 2, 2];
      const split = { ...settings, per_device_train_batch_size: 2 };
      const runs = await Promise.all(
        inProcessRanks(2).map((communicator) =>
          tinyRun(dir, { settings: split, communicator, evaluate: evaluations(values) })
        ),
      );
      assert.deepEqual(runs.map(({ error, result }) => [error, result?.progress.step, result?.best?.step]), [
        [null, 4, 2],
        [null, 4, 2],
      ]);
      assert.deepEqual(runs.map(({ messages }) => messages.length > 0), [true, false], "one of them tells");
      assert.ok(weightsOf(dir).equals(weightsOf(join(dir, "checkpoint-2"))));
      const alone = { ...settings, early_stopping_patience: 3 };
      const rest = await tinyRun(dir, { settings: alone, evaluate: evaluations(values.slice(4)) });
      assert.deepEqual([rest.error, stepsOf(rest.events)], [null, [5]]);
      assert.ok(rest.messages.includes("Changed ranks: 2 -> 1, from step 5 on"));
    }));
});

describe("a run that goes on", () => {
  const CONSTANT = { lr_scheduler_type: "constant", save_steps: 2 } as const;

  it("with a smaller learning rate takes it from the next step, says so once and keeps it on record", () =>
    withScratchFolder(async (dir) => {
      await tinyRun(dir, { settings: CONSTANT, stopAfter: 3 });
      rmSync(join(dir, "checkpoint-3"), { recursive: true });
      const smaller = { ...CONSTANT, learning_rate: 0.005, max_grad_norm: 0.5 };
      const told = [
        "Changed learning_rate: 0.01 -> 0.005, from step 3 on",
        "Changed max_grad_norm: 1 -> 0.5, from step 3 on",
      ];
      // Killed before its next checkpoint, the run is told and recorded anew, not twice.
      for (const stopAfter of [1, Infinity]) {
        const { messages, error } = await tinyRun(dir, { settings: smaller, stopAfter });
        assert.equal(error, null);
        assert.deepEqual(messages, told);
        if (stopAfter === 1) rmSync(join(dir, "checkpoint-3"), { recursive: true });
      }
      assert.deepEqual(rowsIn(dir).map((row) => row.learning_rate), [0.01, 0.01, 0.005, 0.005]);
      assert.deepEqual((await readRun(dir)).changes, [
        { step: 3, key: "learning_rate", before: 0.01, now: 0.005 },
        { step: 3, key: "max_grad_norm", before: 1, now: 0.5 },
      ]);
      assert.deepEqual((await tinyRun(dir, { settings: smaller })).messages, []);
    }));

  it("to another length of its schedule has the rates of one that was begun with it", () =>
    withScratchFolder(async (dir) => {
      const linear = { save_steps: 2, max_steps: 8 };
      await tinyRun(dir, { settings: { save_steps: 2 }, stopAfter: 2 });
      const { messages } = await tinyRun(dir, { settings: linear });
      assert.match(
        messages.join("\n"),
        /max_steps: 4 -> 8, from step 3 on\nThe learning rate follows the schedule/,
      );
      const rates = rowsIn(dir).map((row) => row.learning_rate!);
      [1, 3 / 4, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8].forEach((share, i) =>
        assert.ok(Math.abs(rates[i] - 0.01 * share) < 1e-12, `step ${i + 1}: ${rates[i]}`)
      );
    }));

  it("with new prompts that are allowed keeps both hashes; that are not, leaves the folder as it was", () =>
    withScratchFolder(async (dir) => {
      await tinyRun(dir, { settings: CONSTANT, stopAfter: 2 });
      const inputs = { ...INPUTS, train: { name: "new.jsonl", sha256: "9".repeat(64) } };
      const refused = await tinyRun(dir, { settings: CONSTANT, inputs });
      assert.match(refused.error!.message, /train_jsonl 'new\.jsonl' has sha256 999999999999/);
      assert.deepEqual([refused.events, refused.asked], [[], []]);
      const allowed = await tinyRun(dir, { settings: { ...CONSTANT, allow_new_prompts: true }, inputs });
      assert.deepEqual(stepsOf(allowed.events), [3, 4]);
      const [change] = (await readRun(dir)).changes;
      assert.deepEqual([change.step, change.key, change.now], [3, "train_jsonl", "sha256 999999999999"]);
    }));

  it("without its metrics.jsonl, or with one that was cut, says which steps it lacks and loses nothing else", () =>
    withScratchFolder(async (dir) => {
      const [whole, cut] = [join(dir, "whole"), join(dir, "cut")];
      const settings = { ...CONSTANT, max_steps: 6 };
      await tinyRun(whole, { settings });
      await tinyRun(cut, { settings, stopAfter: 4 });
      const path = join(cut, "metrics.jsonl");
      const lines = readFileSync(path, "utf8").split("\n");
      writeFileSync(path, `${lines[1]}\n`);
      const { messages, error } = await tinyRun(cut, { settings, stopAfter: 1 });
      assert.equal(error, null);
      assert.match(
        messages[0],
        /^metrics\.jsonl has no row of step 1, 3 to 4, of 4 that are done: it was cut/,
      );
      assert.deepEqual(rowsIn(cut).map(({ step }) => step), [2, 5]);
      rmSync(path);
      const rest = await tinyRun(cut, { settings });
      assert.match(rest.messages[0], /no row of step 1 to 5, of 5 that are done/);
      assert.deepEqual(rowsIn(cut).map(({ step }) => step), [6]);
      assert.ok(existsSync(join(cut, "runs")));
      assert.ok(weightsOf(cut).equals(weightsOf(whole)));
    }));
});
