/**
 * Every call of the file system that a save makes, and every one that a whole run makes, fails in turn: the last good
 * checkpoint stays, the message names the file and the remedy, and the run that goes on ends with the same bits.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { cp, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { removeStalePartials } from "../../src/io/files/atomic_files.ts";
import {
  latestCheckpoint,
  loadCheckpoint,
  pruneCheckpoints,
  saveCheckpoint,
} from "../../src/io/records/checkpoint.ts";
import { assertSameRun, evaluation, rowsIn, tinyRun } from "../gpu/tiny_run.ts";
import { leftOut } from "../left_out.ts";
import { contentOf } from "../unit/checkpoint_content.ts";
import { type Fault, withFault } from "../unit/faulty_files.ts";
import { isFull, tellRow } from "./counts.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";

const runtime = "Deno" in globalThis ? "Deno, calls of open files" : "Node";
const CODES = ["ENOSPC", "EIO", "EDQUOT", "EACCES", "EMFILE"];
const KINDS = ["once", "half", "lasting"] as const;
/** What failed, the file, and what to do about it. */
const NAMES_FILE_AND_REMEDY = /^(Cannot [a-z ]+ '[^']*'.*; ).+/s;

before(async () => void await openGpu());
after(closeGpu);

/** At each of the calls, or at some, one fault after the other; or all of them at each. */
function* faults(count: number, { every = 1, areAll = false }): Generator<Fault> {
  const all = CODES.flatMap((code) => KINDS.map((kind) => ({ code, kind })));
  for (let at = 1; at <= count; at += every) {
    for (const fault of areAll ? all : [all[Math.floor(at / every) % all.length]]) yield { at, ...fault };
  }
}

const NONE: Fault = { at: Infinity, code: "EIO", kind: "once" };

/** Saves a step into a run that has one, keeping no other. */
async function saveSecond(run: string): Promise<void> {
  const modelFiles = [join(run, "config.json")];
  await saveCheckpoint(run, { ...contentOf(2), modelFiles });
  await pruneCheckpoints(run, 1, { newestStep: 2 });
}

test("a fault at any call of a save leaves a good checkpoint, is said, and the next save is whole", () =>
  withScratchFolder(async (dir) => {
    const begun = join(dir, "begun");
    await mkdir(begun);
    await writeFile(join(begun, "config.json"), "{}");
    await saveCheckpoint(begun, contentOf(1));
    let points = 0, tries = 0, said = 0;
    for (const replaces of [false, true]) {
      if (replaces) await saveCheckpoint(begun, contentOf(2));
      const start = async () => {
        const run = join(dir, "run");
        await rm(run, { recursive: true, force: true });
        await cp(begun, run, { recursive: true });
        return run;
      };
      const run = await start();
      const { calls, error } = await withFault(run, NONE, () => saveSecond(run));
      assert.ifError(error);
      points += calls.length;
      for (const fault of faults(calls.length, { areAll: isFull })) {
        await start();
        const what = `${fault.code} ${fault.kind} at ${fault.at}, ${calls[fault.at - 1]}`;
        const failed = await withFault(run, fault, () => saveSecond(run));
        if (failed.error) {
          said++;
          assert.match(failed.error.message, NAMES_FILE_AND_REMEDY, what);
          assert.ok(failed.error.message.includes(run), `${what}: ${failed.error.message}`);
        }
        const { dir: good, skipped } = await latestCheckpoint(run);
        assert.deepEqual(skipped, [], what);
        assert.ok(good, what);
        await (await loadCheckpoint(good)).close();
        await saveSecond(run);
        await removeStalePartials(run);
        assert.deepEqual((await readdir(run)).sort(), ["checkpoint-2", "config.json"], what);
        tries++;
      }
    }
    tellRow(
      `Every call of a save fails in turn (${runtime}): a good checkpoint is left, the next save is whole`,
      `${tries} faults at ${points} calls, ${said} said with file and remedy, 0 lost`,
    );
  }));

test("a fault at any call of a whole run costs no row, no checkpoint and no bit of the run that goes on", () =>
  withScratchFolder(async (dir) => {
    const settings = {
      max_steps: 3,
      save_steps: 1,
      save_total_limit: 2,
      eval_every: 2,
      debug_log_every: 1,
      scatter_every: 2,
      hist_every: 2,
    };
    const train = (runDir: string) => tinyRun(runDir, { settings, evaluate: evaluation });
    const whole = join(dir, "whole");
    await mkdir(whole);
    const { calls, value } = await withFault(whole, NONE, () => train(whole));
    assert.ifError(value!.error);
    let tries = 0, ended = 0, wentOn = 0;
    for (const fault of faults(calls.length, { every: isFull ? 1 : 9 })) {
      const run = join(dir, "run");
      await rm(run, { recursive: true, force: true });
      await mkdir(run);
      const what = `${fault.code} ${fault.kind} at ${fault.at}, ${calls[fault.at - 1]}`;
      const { value, error } = await withFault(run, fault, () => train(run));
      assert.ifError(error);
      const failure = value!.error;
      if (failure) {
        ended++;
        assert.match(failure.message, NAMES_FILE_AND_REMEDY, what);
      } else wentOn++;
      const { dir: good, skipped } = await latestCheckpoint(run);
      assert.deepEqual(skipped, [], what);
      if (good) {
        const { step } = await loadCheckpoint(good).then(async (
          checkpoint,
        ) => (await checkpoint.close(), checkpoint));
        const logged = new Set(rowsIn(run).map((row) => row.step));
        for (let s = 1; s <= step; s++) {
          assert.ok(logged.has(s), `${what}: checkpoint ${step} lacks row ${s}`);
        }
      }
      const rest = await train(run);
      assert.ifError(rest.error);
      assert.deepEqual(rest.messages, [], what);
      assertSameRun(run, whole);
      assert.deepEqual(
        readdirSync(run).filter((name) => name.startsWith(".") || name.includes("journal")),
        [],
        what,
      );
      tries++;
    }
    tellRow(
      `Calls of a run of 3 steps fail in turn (${runtime}): rows, samples, checkpoints and weights after going on equal ` +
        "those of a run without",
      `${tries} faults among ${calls.length} calls, ${ended} ended the run with file and remedy, ${wentOn} did not; ` +
        "0 rows lost or doubled",
    );
  }));

const isRoot = process.platform === "linux" && process.getuid?.() === 0;
test(
  "a disk that is really full, at any size, ends the run with its last good checkpoint, and with room it goes on",
  {
    skip: !isRoot && leftOut("a disk of a few kilobytes", "it takes root, to mount one"),
  },
  () =>
    withScratchFolder(async (dir) => {
      const settings = { max_steps: 3, save_steps: 1, eval_every: 2, debug_log_every: 1 };
      const train = (runDir: string) => tinyRun(runDir, { settings, evaluate: evaluation });
      const whole = join(dir, "whole");
      await train(whole);
      const disk = join(dir, "disk");
      await mkdir(disk);
      const steps = new Map<number, number>();
      let warned = 0;
      for (let kib = 8;; kib += isFull ? 4 : 64) {
        execFileSync("mount", ["-t", "tmpfs", "-o", `size=${kib}k`, "tmpfs", disk]);
        try {
          const run = join(disk, "run");
          const { error, messages } = await train(run);
          if (error === null) break;
          assert.match(
            error.message,
            /^Cannot [a-z ]+ '[^']*'.*the disk is full \(ENOSPC\); free space/s,
            `${kib} KiB`,
          );
          const { dir: good, skipped } = await latestCheckpoint(run);
          assert.deepEqual(skipped, [], `${kib} KiB`);
          if (messages.some((text) => text.startsWith("The disk may be too small"))) warned++;
          const step = good === undefined ? 0 : Number(good.split("-").at(-1));
          steps.set(step, (steps.get(step) ?? 0) + 1);
          execFileSync("mount", ["-o", "remount,size=64m", disk]);
          assert.ifError((await train(run)).error);
          assertSameRun(run, whole);
        } finally {
          execFileSync("umount", [disk]);
        }
      }
      const ended = [...steps.values()].reduce((sum, count) => sum + count, 0);
      assert.ok(warned > ended / 2, `${warned} of ${ended} were warned`);
      tellRow(
        `A tmpfs that is full (${
          runtime.split(",")[0]
        }): the run ends with the line of a full disk, keeps its last good ` +
          "checkpoint, and equals one never stopped once there is room",
        `${ended} sizes: ${
          [...steps].map(([step, count]) => `${count} with checkpoint ${step}`).join(", ")
        }; ${warned} warned before the first step`,
      );
    }),
);
