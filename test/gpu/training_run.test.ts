/** Runs that were stopped or killed and go on, and runs that may not. */
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { contentsOf } from "../e2e/folder_contents.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { tinyPolicy } from "./tiny_policy.ts";
import {
  assertSameRun,
  checkpointsIn,
  evaluation,
  finalWeightsIn,
  rowsIn,
  stepsOf,
  tinyRun,
  type TinyRunOptions,
} from "./tiny_run.ts";

/** Changes one bit of a checkpoint's weights. */
function damage(runDir: string, step: number): void {
  const path = join(runDir, `checkpoint-${step}`, "model.safetensors");
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] ^= 1;
  writeFileSync(path, bytes);
}

const KINDS: [string, number, TinyRunOptions][] = [
  ["one optimizer step of a generation batch", 1, { settings: { scatter_every: 3 } }],
  ["four optimizer steps of a generation batch", 4, {
    settings: { steps_per_generation: 2, num_iterations: 2, max_steps: 16 },
  }],
  ["bf16 weights with f32 masters", 1, { makePolicy: () => tinyPolicy("bfloat16") }],
];

before(async () => void await openGpu());
after(closeGpu);

describe("a run that goes on", () => {
  for (const [what, updates, options] of KINDS) {
    it(`samples only the steps after its newest checkpoint, and ends with the bits of one never stopped: ${what}`, () =>
      withScratchFolder(async (dir) => {
        const [whole, parts] = [join(dir, "whole"), join(dir, "parts")];
        const complete = await tinyRun(whole, options);
        const first = await tinyRun(parts, { ...options, stopAfter: 2 });
        const rest = await tinyRun(parts, options);
        const [third, fourth] = [3 * updates, 4 * updates];
        assert.deepEqual(rest.events, [
          "describe",
          `start ${2 * updates + 1} of ${fourth}`,
          `step ${third}`,
          `step ${fourth}`,
        ]);
        assert.deepEqual(first.asked, complete.asked.slice(0, 2));
        assert.deepEqual(rest.asked, complete.asked.slice(2), "the completions that were missing");
        assertSameRun(parts, whole);
      }));
  }

  it("after a kill goes on from the checkpoint before, and writes the rows after it again", () =>
    withScratchFolder(async (dir) => {
      const [whole, killed] = [join(dir, "whole"), join(dir, "killed")];
      const settings = { save_steps: 2, scatter_every: 3 };
      const complete = await tinyRun(whole, {
        settings,
        // What SIGKILL leaves: the row of step 3, which no checkpoint has.
        onStep: ({ step }) => step === 3 && cpSync(whole, killed, { recursive: true }),
      });
      assert.deepEqual(rowsIn(killed).map(({ step }) => step), [1, 2, 3]);
      mkdirSync(join(killed, ".checkpoint-9.partial-0123456789abcdef")); // and amid writing another
      const rest = await tinyRun(killed, { settings });
      assert.deepEqual(rest.asked, complete.asked.slice(3), "step 3 was answered before");
      assert.deepEqual(stepsOf(rest.events), [3, 4]);
      assertSameRun(killed, whole);
      assert.deepEqual(readdirSync(killed).filter((name) => name.startsWith(".")), []);
    }));

  it("takes the newest of its checkpoints", () =>
    withScratchFolder(async (dir) => {
      await tinyRun(dir, { settings: { max_steps: 12 }, stopAfter: 10 });
      const { events } = await tinyRun(dir, { settings: { max_steps: 12 } });
      assert.deepEqual(events.slice(1), ["start 11 of 12", "step 11", "step 12"]);
    }));

  it("to more steps than it was begun with equals one that was begun with these", () =>
    withScratchFolder(async (dir) => {
      const [whole, longer] = [join(dir, "whole"), join(dir, "longer")];
      const settings = { lr_scheduler_type: "constant" as const };
      await tinyRun(whole, { settings });
      await tinyRun(longer, { settings: { ...settings, max_steps: 2 } });
      const { events } = await tinyRun(longer, { settings });
      assert.deepEqual(stepsOf(events), [3, 4]);
      // Its first checkpoints know of the length that the run then had, and changes.jsonl of both.
      assertSameRun(longer, whole, ["changes.jsonl", "checkpoint-1", "checkpoint-2"]);
    }));

  it("past its last step asks for nothing, evaluates nothing and changes no file", () =>
    withScratchFolder(async (dir) => {
      await tinyRun(dir, { evaluate: evaluation });
      const files = contentsOf(dir, ["runs"]);
      const again = await tinyRun(dir, { evaluate: evaluation });
      assert.deepEqual([again.events, again.asked], [["describe", "start 5 of 4"], []]);
      assert.deepEqual([again.result!.finished, again.result!.rows], [true, []]);
      assert.deepEqual(contentsOf(dir, ["runs"]), files);
    }));

  it("names each damaged checkpoint and the reason, and goes on from the one before", () =>
    withScratchFolder(async (dir) => {
      const [whole, damaged] = [join(dir, "whole"), join(dir, "damaged")];
      const complete = await tinyRun(whole);
      await tinyRun(damaged, { stopAfter: 3 });
      damage(damaged, 3);
      rmSync(join(damaged, "checkpoint-2", "optimizer.safetensors"));
      const { messages, asked } = await tinyRun(damaged);
      const named = (step: number, reason: string) =>
        new RegExp(`^Skipped ${join(damaged, `checkpoint-${step}`)}: .*${reason}`);
      assert.match(messages[0], named(3, "model.safetensors is damaged: required SHA-256"));
      assert.match(messages[1], named(2, "optimizer.safetensors .*got no such file"));
      assert.equal(messages.length, 2);
      assert.deepEqual(asked, complete.asked.slice(1));
      assertSameRun(damaged, whole);
    }));

  it("without one whole checkpoint ends, with each and its reason, and leaves the folder as it is", () =>
    withScratchFolder(async (dir) => {
      await tinyRun(dir, { stopAfter: 2, settings: { debug_log_every: 1 } });
      for (const step of [1, 2]) damage(dir, step);
      const files = contentsOf(dir);
      const { error, events } = await tinyRun(dir, { settings: { debug_log_every: 1 } });
      for (const step of [1, 2]) {
        assert.match(error!.message, new RegExp(`checkpoint-${step}': model.safetensors is damaged`));
      }
      assert.match(error!.message, /set resume=false to start over, which keeps this folder aside/);
      assert.deepEqual([events, contentsOf(dir)], [[], files]);
    }));

  it("without any checkpoint starts over, with an empty log", () =>
    withScratchFolder(async (dir) => {
      const [whole, killed] = [join(dir, "whole"), join(dir, "killed")];
      await tinyRun(whole, { settings: { debug_log_every: 3 } });
      await tinyRun(killed, { stopAfter: 2, settings: { debug_log_every: 1 } });
      for (const step of [1, 2]) rmSync(join(killed, `checkpoint-${step}`), { recursive: true });
      const { events } = await tinyRun(killed, { settings: { debug_log_every: 3 } });
      assert.deepEqual(stepsOf(events), [1, 2, 3, 4]);
      assert.deepEqual(Object.keys(contentsOf(join(killed, "samples"))), ["train_3.jsonl"]);
      assertSameRun(killed, whole);
    }));

  it("is refused where a key differs, naming it, before anything is sampled or written", () =>
    withScratchFolder(async (dir) => {
      await tinyRun(dir, { stopAfter: 2 });
      const files = contentsOf(dir);
      const refused = await tinyRun(dir, { settings: { adam_beta1: 0.5 } });
      assert.match(
        refused.error!.message,
        /Cannot resume from ".*checkpoint-2": .*adam_beta1: checkpoint 0\.9, now 0\.5/,
      );
      assert.deepEqual([refused.asked, refused.events, refused.messages], [[], [], []]);
      assert.deepEqual(contentsOf(dir), files);
    }));

  it("leaves a folder that is not to be resumed out of account", () =>
    withScratchFolder(async (dir) => {
      const whole = join(dir, "whole"), again = join(dir, "again");
      const complete = await tinyRun(whole);
      await tinyRun(again, { settings: { learning_rate: 0.5, debug_log_every: 1 } });
      const { asked } = await tinyRun(again, { settings: { resume: false } });
      assert.deepEqual(asked, complete.asked);
      assertSameRun(again, whole);
      assert.ok(!existsSync(join(again, "samples")), "of the run before");
    }));
});

describe("a run that is asked to stop", () => {
  it("ends after the step in progress with its checkpoint, and neither evaluates nor writes final weights", () =>
    withScratchFolder(async (dir) => {
      const settings = { save_steps: 0, scatter_every: 3 };
      const { result, events } = await tinyRun(dir, { settings, stopAfter: 2, evaluate: evaluation });
      assert.deepEqual([result!.finished, result!.progress.step], [false, 2]);
      assert.deepEqual(stepsOf(events), [1, 2]);
      assert.ok(!events.some((event) => event.startsWith("evaluate")));
      assert.deepEqual(checkpointsIn(dir), [2]);
      assert.deepEqual(finalWeightsIn(dir), []);
      assert.ok(!existsSync(join(dir, "samples")), "the scatter window stays open");
    }));

  it("before its first step leaves no checkpoint, and starts again", () =>
    withScratchFolder(async (dir) => {
      const [whole, parts] = [join(dir, "whole"), join(dir, "parts")];
      await tinyRun(whole);
      const none = await tinyRun(parts, { stopAfter: 0, evaluate: evaluation });
      assert.deepEqual([none.error, none.asked, none.result!.finished], [null, [], false]);
      assert.deepEqual([checkpointsIn(parts), finalWeightsIn(parts)], [[], []]);
      const { events } = await tinyRun(parts);
      assert.deepEqual(stepsOf(events), [1, 2, 3, 4]);
      assertSameRun(parts, whole);
    }));

  it("in its last step has finished: evaluation and final weights are there", () =>
    withScratchFolder(async (dir) => {
      const { result, events } = await tinyRun(dir, { stopAfter: 4, evaluate: evaluation });
      assert.equal(result!.finished, true);
      assert.equal(events.at(-1), "evaluate 4");
      assert.deepEqual(finalWeightsIn(dir), ["model.safetensors", "pytorch_model.bin"]);
    }));
});
