/** Saving and restoring a run, without a GPU: an optimizer of no weights. */
import assert from "node:assert/strict";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { defaultConfig } from "../../src/config/schema.ts";
import { type RunConfig, sweepRuns } from "../../src/config/sweep.ts";
import { singleProcess } from "../../src/parallel/communicator.ts";
import { initialLambdaState } from "../../src/rl/lambda.ts";
import type { TrackerState } from "../../src/tracking/tracker.ts";
import { restoreRun, saveRun } from "../../src/train/checkpointing.ts";
import type { Optimizer } from "../../src/train/optimizer.ts";
import type { Progress } from "../../src/train/generation_batch.ts";
import { leftOut } from "../left_out.ts";
import { withFault } from "./faulty_files.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const optimizerOf = () => ({ weights: [], slots: [], shares: null, updates: 0 }) as unknown as Optimizer;
const TRACKER = { points: [[1, 2]] } as unknown as TrackerState;
const progressOf = (step: number) => ({ step, lambda: initialLambdaState(0.5) }) as unknown as Progress;
const configOf = (change: Partial<RunConfig> = {}) => ({ ...sweepRuns(defaultConfig())[0]!, ...change });

const save = (
  dir: string,
  step: number,
  change: Partial<RunConfig> = {},
  modelFiles: string[] = [],
  onMessage: (text: string) => void = assert.fail,
) =>
  saveRun(dir, {
    communicator: singleProcess,
    config: configOf(change),
    optimizer: optimizerOf(),
    progress: progressOf(step),
    tracker: TRACKER,
    modelFiles,
    onMessage,
  });

const unexpected = (dir: string, reason: string) => assert.fail(`skipped ${dir}: ${reason}`);

test("save_total_limit keeps so many checkpoints, the new one among them, and by default all", () =>
  withScratchFolder(async (dir) => {
    for (const step of [1, 2, 10]) await save(dir, step);
    assert.equal((await readdir(dir)).length, 3);
    await save(dir, 11, { save_total_limit: 2 });
    assert.deepEqual((await readdir(dir)).sort(), ["checkpoint-10", "checkpoint-11"]);
    await save(dir, 12, { save_total_limit: 1 });
    assert.deepEqual(await readdir(dir), ["checkpoint-12"]);
  }));

test("nothing is removed before the new checkpoint is whole: a save that fails costs no old one", () =>
  withScratchFolder(async (dir) => {
    for (const step of [1, 2]) await save(dir, step);
    await assert.rejects(save(dir, 3, { save_total_limit: 1 }, [join(dir, "nowhere.json")]), /ENOENT/);
    assert.deepEqual((await readdir(dir)).sort(), ["checkpoint-1", "checkpoint-2"]);
  }));

// Deno binds an import of node:fs once; what is set on the module later is not seen through it.
const skip = "Deno" in globalThis &&
  leftOut("older checkpoints that cannot be removed", "Deno's node:fs cannot be made to fail from outside");

test(
  "an older checkpoint that cannot be removed is told of, and the new one is saved",
  { skip },
  () =>
    withScratchFolder(async (dir) => {
      await save(dir, 1);
      const messages: string[] = [];
      const saving = () => save(dir, 2, { save_total_limit: 1 }, [], (text) => messages.push(text));
      const { calls } = await withFault(dir, { at: Infinity, code: "EACCES", kind: "once" }, saving);
      await rm(join(dir, "checkpoint-2"), { recursive: true });
      await save(dir, 1);
      const at = calls.findIndex((call) => call === "rename .checkpoint-1.removed") + 1;
      assert.ok(at > 0, calls.join("\n"));
      const { error } = await withFault(dir, { at, code: "EACCES", kind: "once" }, saving);
      assert.ifError(error);
      assert.equal(messages.length, 1);
      assert.match(
        messages[0],
        /^Older checkpoints stay: Cannot remove '.*checkpoint-1': .*EACCES.*; training goes on$/,
      );
      assert.deepEqual((await readdir(dir)).sort(), ["checkpoint-1", "checkpoint-2"]);
    }),
);

test("a run goes on from its newest checkpoint, with all that it had counted", () =>
  withScratchFolder(async (dir) => {
    for (const step of [4, 12]) await save(dir, step);
    const optimizer = optimizerOf();
    const restored = await restoreRun(
      dir,
      { config: configOf(), communicator: singleProcess, optimizer },
      unexpected,
    );
    assert.equal(restored?.dir, join(dir, "checkpoint-12"));
    assert.deepEqual(restored.progress, progressOf(12));
    assert.deepEqual(restored.tracker, TRACKER);
    assert.equal(optimizer.updates, 12);
  }));

test("a run without a checkpoint starts at its beginning", () =>
  withScratchFolder(async (dir) => {
    assert.equal(
      await restoreRun(
        join(dir, "none"),
        { config: configOf(), communicator: singleProcess, optimizer: optimizerOf() },
        unexpected,
      ),
      null,
    );
  }));

test("each checkpoint that is passed over is reported with its reason", () =>
  withScratchFolder(async (dir) => {
    for (const step of [1, 2, 3]) await save(dir, step);
    for (const step of [2, 3]) await rm(join(dir, `checkpoint-${step}`, "trainer_state.json"));
    const skipped: string[] = [];
    const restored = await restoreRun(
      dir,
      { config: configOf(), communicator: singleProcess, optimizer: optimizerOf() },
      (bad, reason) => {
        assert.match(reason, /trainer_state.json is damaged/);
        skipped.push(bad);
      },
    );
    assert.deepEqual(skipped, [3, 2].map((step) => join(dir, `checkpoint-${step}`)));
    assert.equal(restored?.progress.step, 1);
  }));

test("another configuration is refused by key, before anything of the optimizer is touched", () =>
  withScratchFolder(async (dir) => {
    await save(dir, 4);
    const optimizer = optimizerOf();
    for (const [key, now] of [["lora_alpha", 8], ["beta", 0.5], ["temperature", 1]] as const) {
      const before = configOf()[key];
      await assert.rejects(
        restoreRun(
          dir,
          { config: configOf({ [key]: now }), communicator: singleProcess, optimizer },
          unexpected,
        ),
        new RegExp(`Cannot resume from ".*checkpoint-4": .*${key}: checkpoint ${before}, now ${now}`),
      );
    }
    assert.equal(optimizer.updates, 0);
    const polynomial = { lr_scheduler_type: "polynomial" as const };
    await save(dir, 5, polynomial);
    await assert.rejects(
      restoreRun(
        dir,
        { config: configOf({ ...polynomial, max_steps: 900 }), communicator: singleProcess, optimizer },
        unexpected,
      ),
      /max_steps: checkpoint 500, now 900/,
    );
  }));

test("a longer run, another folder and another cadence go on where the rate is constant", () =>
  withScratchFolder(async (dir) => {
    await save(dir, 4);
    const config = configOf({ max_steps: 900, save_steps: 3, logging_steps: 1, save_total_limit: 2 });
    const given = { config, communicator: singleProcess, optimizer: optimizerOf() };
    assert.equal((await restoreRun(dir, given, unexpected))?.progress.step, 4);
  }));
