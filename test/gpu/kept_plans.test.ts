/** Which recorded plans are kept for another use, and that none is taken for another. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { trimPool } from "../../src/gpu/pool.ts";
import { clearTensor, copyTensor, readFloats, uploadTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, type Gpu, openGpu } from "../../src/gpu/device.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { createReplays, type Replays } from "../../src/gpu/replay.ts";
import { add } from "../../src/ops/elementwise/add.ts";
import { disposePasses, makePassReplays, passLimitBytes, trimPasses } from "../../src/policy/pass_replays.ts";

let gpu: Gpu;
before(async () => void (gpu = await openGpu()));
after(closeGpu);

const COLUMNS = 8;
const filled = (value: number, rows: number) =>
  uploadTensor(new Float32Array(rows * COLUMNS).fill(value), [rows, COLUMNS]);

/** Functions of inputs of so many rows, whose plans take as many rows, run in turn. @returns how many were recorded */
function recordings(replays: Replays, ...sizes: number[]): number {
  let count = 0;
  for (const rows of sizes) {
    const x = filled(1, rows);
    replays.run("double", { x }, (own) => {
      count++;
      return add(own.x, own.x);
    });
    x.dispose();
  }
  return count;
}

describe("a plan", () => {
  it("holds kernels alone: clearings, copies and other plans are refused, and all goes on as before", async () => {
    const x = filled(2, 4);
    add(x, x).dispose(); // its uniform stays
    trimPool();
    const before = { tensors: tf.memory().numTensors, bytes: gpu.memory().liveBytes };
    const refused = (build: () => void, message: RegExp) =>
      assert.throws(() => recordPlan(() => void [add(x, x), build()]), message);
    refused(() => clearTensor(x), /Cannot record the clearing of a tensor/);
    refused(() => copyTensor(x, x), /Cannot record a copy/);
    refused(() => recordPlan(() => add(x, x)), /Cannot record a plan inside another plan/);
    assert.deepEqual({ tensors: tf.memory().numTensors, bytes: gpu.memory().liveBytes }, before);
    assert.equal((await readFloats(add(x, x)))[0], 4);
    assert.equal((await readFloats(tf.add(x, x)))[0], 4);
  });
});

describe("kept plans", () => {
  it("of two functions of inputs of the same shape are two", async () => {
    const replays = createReplays(2 ** 20);
    const x = filled(3, 4);
    const doubled = replays.run("double", { x }, (own) => add(own.x, own.x));
    const tripled = replays.run("triple", { x }, (own) => add(own.x, own.x, 2));
    assert.equal((await readFloats(doubled))[0], 6);
    assert.equal((await readFloats(tripled))[0], 9);
    replays.dispose();
  });

  it("outlive the tidy that they were recorded in, outputs included", async () => {
    const replays = createReplays(2 ** 20);
    const doubled = (value: number) => {
      const x = filled(value, 4);
      return replays.run("double", { x }, (own) => ({ sum: add(own.x, own.x) })).sum;
    };
    tf.tidy(() => void doubled(1));
    assert.equal((await readFloats(doubled(4)))[0], 8);
    replays.dispose();
  });

  it("are freed in the order of their last use, not of their first", () => {
    const replays = createReplays(2 ** 20);
    // Before the third is recorded one of the first two must go: the second, which was not used since.
    assert.equal(recordings(replays, 1000, 1001, 1000, 1002), 3);
    assert.equal(recordings(replays, 1000), 0);
    replays.dispose();
  });

  it("of large inputs stay when smaller ones come by", () => {
    const replays = createReplays(2 ** 20);
    recordings(replays, 1000);
    const limitBytes = replays.limitBytes();
    assert.equal(recordings(replays, 8, 1000, 16, 1000), 2);
    assert.equal(replays.limitBytes(), limitBytes);
    replays.dispose();
  });

  it("take at the most what may be kept: one that takes a byte more stays only while it is used", () => {
    const sizeBytes = 1000 * COLUMNS * 4;
    for (const [keptBytes, recordedAgain] of [[sizeBytes, 0], [sizeBytes - 1, 1]]) {
      const replays = createReplays(keptBytes);
      recordings(replays, 1000);
      replays.trim();
      assert.equal(recordings(replays, 1000), recordedAgain);
      replays.dispose();
    }
  });

  it("take no more memory than a plan of the largest counts, also where that is too large to be kept", () => {
    const keptBytes = 1000 * COLUMNS * 4;
    for (const [largest, ...before] of [[900, 800, 850], [1001, 600, 990], [1500, 1000, 999]]) {
      const planned = createReplays(keptBytes);
      recordings(planned, largest);
      const most = largest * COLUMNS * 4 + planned.limitBytes();
      planned.dispose();
      trimPool();
      const { liveBytes } = gpu.memory();
      const replays = createReplays(keptBytes);
      let taken = 0;
      for (const rows of [...before, largest, ...before]) {
        recordings(replays, rows);
        trimPool();
        taken = Math.max(taken, gpu.memory().liveBytes - liveBytes);
      }
      replays.dispose();
      // Beside the plans there are the inputs of each, as large here as what is made of them.
      assert.ok(taken <= 2 * most, `${taken / 2} of ${most} bytes`);
      assert.ok(taken > 2 * largest * COLUMNS * 4, "others were kept beside it, or before");
    }
  });

  it("count in a memory plan with the most that each kind can keep, all kinds together", () => {
    const passes = makePassReplays();
    assert.equal(passLimitBytes(passes), 0);
    const rowBytes = 4 * COLUMNS;
    recordings(passes.prompts, 100, 200);
    recordings(passes.passes, 300);
    recordings(passes.promptsBackward, 50);
    assert.equal(passLimitBytes(passes), (200 + 300 + 50) * rowBytes);
    recordings(passes.prompts, 200);
    trimPasses(passes);
    assert.equal(recordings(passes.prompts, 200), 0, "the largest fits");
    assert.equal(recordings(passes.prompts, 100), 1, "the rest was over the limit");
    disposePasses(passes);
  });

  it("leave no tensor behind when they are dropped for others, nor at the end", () => {
    const replays = createReplays(2 ** 20);
    const before = tf.memory().numTensors;
    recordings(replays, 1000, 1001);
    const two = tf.memory().numTensors;
    recordings(replays, 1002, 1003, 1004);
    assert.equal(tf.memory().numTensors, two);
    replays.dispose();
    assert.equal(tf.memory().numTensors, before);
  });
});
