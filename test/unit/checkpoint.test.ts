import assert from "node:assert/strict";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import {
  latestCheckpoint,
  loadCheckpoint,
  pruneCheckpoints,
  saveCheckpoint,
} from "../../src/io/records/checkpoint.ts";
import { contentOf, tensor } from "./checkpoint_content.ts";
import { withScratchFolder } from "./scratch_folder.ts";

test("loadCheckpoint() gives back weights, optimizer, copied files and a state equal bit for bit", () =>
  withScratchFolder(async (dir) => {
    await writeFile(join(dir, "config.json"), "{}");
    const state = { lambda: 0.1 + 0.2, ema: -0, tiny: 5e-324, count: 2 ** 53 - 1, order: [3, 1], none: null };
    const run = join(dir, "run");
    const saved = await saveCheckpoint(run, {
      ...contentOf(5, state),
      modelFiles: [join(dir, "config.json")],
    });
    assert.equal(saved, join(run, "checkpoint-5"));
    const checkpoint = await loadCheckpoint(saved);
    assert.deepEqual(checkpoint.state, state); // strict deepEqual tells -0 from 0
    assert.equal(checkpoint.step, 5);
    assert.deepEqual(await checkpoint.weights.read("w"), new Uint8Array(16).fill(5));
    assert.deepEqual(await checkpoint.optimizer.read("w.m"), new Uint8Array(16).fill(7));
    await checkpoint.close();
    assert.equal(await readFile(join(saved, "config.json"), "utf8"), "{}");
    assert.deepEqual(await readdir(run), ["checkpoint-5"]);
  }));

test("the same content gives the same files, and saving a step again replaces its folder", () =>
  withScratchFolder(async (dir) => {
    const first = await saveCheckpoint(dir, contentOf(3));
    const before = await readFile(join(first, "checkpoint_manifest.json"), "utf8");
    await saveCheckpoint(dir, contentOf(3, { other: true }));
    await saveCheckpoint(dir, contentOf(3));
    assert.equal(await readFile(join(first, "checkpoint_manifest.json"), "utf8"), before);
    assert.deepEqual(await readdir(dir), ["checkpoint-3"]);
  }));

test("a failing save leaves no new folder and the older checkpoint untouched", () =>
  withScratchFolder(async (dir) => {
    await saveCheckpoint(dir, contentOf(1));
    const lost = { ...tensor("w", 0), bytes: () => Promise.reject(new Error("device lost")) };
    await assert.rejects(saveCheckpoint(dir, { ...contentOf(2), weights: [lost] }), /device lost/);
    await assert.rejects(saveCheckpoint(dir, contentOf(2, { ema: NaN })), /value\.state\.ema.*got NaN/);
    await assert.rejects(
      saveCheckpoint(dir, { ...contentOf(2), modelFiles: ["/nowhere/config.json"] }),
      /Cannot copy '\/nowhere\/config.json'.*ENOENT/,
    );
    await assert.rejects(
      saveCheckpoint(dir, { ...contentOf(2), modelFiles: ["/a/model.safetensors"] }),
      /two files/,
    );
    await assert.rejects(saveCheckpoint(dir, contentOf(-1)), /checkpoint -1/);
    assert.deepEqual(await readdir(dir), ["checkpoint-1"]);
    assert.deepEqual((await latestCheckpoint(dir)).skipped, []);
  }));

test("a folder renamed to another step is refused", () =>
  withScratchFolder(async (dir) => {
    await rename(await saveCheckpoint(dir, contentOf(4)), join(dir, "checkpoint-40"));
    await assert.rejects(loadCheckpoint(join(dir, "checkpoint-40")), /does not describe this folder/);
  }));

test("latestCheckpoint() orders steps as numbers, ignores other names, and knows a run folder that is not there", () =>
  withScratchFolder(async (dir) => {
    assert.deepEqual(await latestCheckpoint(join(dir, "none")), { dir: undefined, skipped: [] });
    for (const step of [9, 10]) await saveCheckpoint(dir, contentOf(step));
    for (const name of ["checkpoint-011", "checkpoint-best", ".checkpoint-12.partial-0123456789abcdef"]) {
      await mkdir(join(dir, name));
    }
    assert.deepEqual(await latestCheckpoint(dir), { dir: join(dir, "checkpoint-10"), skipped: [] });
  }));

test("pruneCheckpoints() keeps the newest whole ones; a damaged one neither counts nor goes", () =>
  withScratchFolder(async (dir) => {
    for (const step of [2, 4, 10, 12]) await saveCheckpoint(dir, contentOf(step));
    await rm(join(dir, "checkpoint-12", "model.safetensors"));
    assert.deepEqual(await pruneCheckpoints(dir, 2), [join(dir, "checkpoint-2")]);
    assert.deepEqual((await readdir(dir)).sort(), ["checkpoint-10", "checkpoint-12", "checkpoint-4"]);
    assert.deepEqual(await pruneCheckpoints(dir, 5), []);
    await assert.rejects(pruneCheckpoints(dir, 0), /save_total_limit/);
  }));

test("a checkpoint of adapters has its weights under the name that peft looks for", () =>
  withScratchFolder(async (dir) => {
    const saved = await saveCheckpoint(dir, { ...contentOf(4), weightsFile: "adapter_model.safetensors" });
    assert.ok((await readdir(saved)).includes("adapter_model.safetensors"));
    const checkpoint = await loadCheckpoint(saved);
    assert.deepEqual(await checkpoint.weights.read("w"), new Uint8Array(16).fill(4));
    await checkpoint.close();
  }));

test("step 0 is a step; a fraction, a negative one, or one past 15 digits is not", () =>
  withScratchFolder(async (dir) => {
    assert.equal(await saveCheckpoint(dir, contentOf(0)), join(dir, "checkpoint-0"));
    assert.equal((await latestCheckpoint(dir)).dir, join(dir, "checkpoint-0"));
    for (const step of [1.5, -1, 1e15, NaN]) {
      await assert.rejects(saveCheckpoint(dir, contentOf(step)), /step is no whole number >= 0/);
    }
  }));

test("pruneCheckpoints() keeps exactly the limit, oldest gone first, and refuses a limit that is none", () =>
  withScratchFolder(async (dir) => {
    for (const step of [1, 2, 3]) await saveCheckpoint(dir, contentOf(step));
    assert.deepEqual(await pruneCheckpoints(dir, 3), []);
    assert.deepEqual(await pruneCheckpoints(dir, 1), [join(dir, "checkpoint-1"), join(dir, "checkpoint-2")]);
    assert.deepEqual(await readdir(dir), ["checkpoint-3"]);
    assert.deepEqual(await pruneCheckpoints(join(dir, "none"), 1), []);
    for (const limit of [0, -1, 1.5]) await assert.rejects(pruneCheckpoints(dir, limit), /whole number >= 1/);
  }));
