/** Which recorded plans are kept for another use, and that none is taken for another. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { createArena } from "../../src/gpu/arena.ts";
import { trimPool } from "../../src/gpu/pool.ts";
import { clearTensor, copyOf, copyTensor, readFloats, uploadTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, type Gpu, openGpu } from "../../src/gpu/device.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { createReplays, type Replays } from "../../src/gpu/replay.ts";
import { withGpuLanes } from "../../src/gpu/trial_modes.ts";
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
    recordPlan(() => add(x, x)).dispose(); // and that of plans
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

describe("a plan's memory", () => {
  it("is used again at once on a CPU that plays a GPU, and after a rest on a GPU, to the same bits", async () => {
    const x = uploadTensor(Float32Array.from({ length: 4 * COLUMNS }, (_, i) => Math.sin(i)), [4, COLUMNS]);
    const record = () =>
      recordPlan(() => {
        let y = add(x, x);
        for (let i = 0; i < 20; i++) y = add(y, x, i);
        return y;
      });
    const plans = [record(), withGpuLanes(record)];
    for (const plan of plans) plan.replay();
    assert.deepEqual(plans.map(({ sizeBytes }) => sizeBytes / (4 * COLUMNS * 4)), [2, 6]);
    const [hurried, rested] = await Promise.all(plans.map(({ outputs }) => readFloats(outputs)));
    assert.deepEqual(hurried, rested);
    for (const plan of plans) plan.dispose();
  });
});

describe("plans of one arena", () => {
  it("keep their memory until the last of them is gone", async () => {
    const arena = createArena();
    const x = filled(3, 100);
    trimPool();
    const record = () => recordPlan(() => add(add(x, x), x), { arena });
    record().dispose(); // its uniforms stay
    const before = gpu.memory().liveBytes;
    const plans = [record(), record()];
    const { liveBytes } = gpu.memory();
    assert.ok(liveBytes > before);
    plans[0].dispose();
    assert.equal(gpu.memory().liveBytes, liveBytes);
    plans[1].replay();
    assert.equal((await readFloats(plans[1].outputs))[0], 9);
    plans[1].dispose();
    trimPool();
    assert.equal(gpu.memory().liveBytes, before);
  });
});

describe("kept plans", () => {
  it("of two functions of inputs of the same shapes are two", async () => {
    const replays = createReplays();
    const x = filled(3, 4);
    const doubled = copyOf(replays.run("double", { x }, (own) => add(own.x, own.x)));
    const tripled = replays.run("triple", { x }, (own) => add(own.x, own.x, 2));
    assert.equal((await readFloats(doubled))[0], 6);
    assert.equal((await readFloats(tripled))[0], 9);
    replays.dispose();
  });

  it("outlive the tidy that they were recorded in, outputs included", async () => {
    const replays = createReplays();
    const doubled = (value: number) => {
      const x = filled(value, 4);
      return replays.run("double", { x }, (own) => ({ sum: add(own.x, own.x) })).sum;
    };
    tf.tidy(() => void doubled(1));
    assert.equal((await readFloats(doubled(4)))[0], 8);
    replays.dispose();
  });

  it("are dropped in the order of their last use, not of their first", () => {
    const replays = createReplays({ keptDispatches: 2 });
    assert.equal(recordings(replays, 1000, 1001), 2);
    // With the third there is one too many: the second is dropped, which was not used since.
    assert.equal(recordings(replays, 1000, 1002), 1);
    assert.equal(recordings(replays, 1000, 1002), 0);
    assert.equal(recordings(replays, 1001), 1);
    replays.dispose();
  });

  it("of all sizes take the memory of the largest, whatever the order", () => {
    for (const sizes of [[900, 800, 850], [8, 1000, 16, 999], [500, 1000, 1500]]) {
      const uniforms = createReplays();
      recordings(uniforms, ...sizes); // theirs stay
      uniforms.dispose();
      trimPool();
      const { liveBytes } = gpu.memory();
      const replays = createReplays();
      recordings(replays, ...sizes);
      trimPool();
      // x and its double.
      assert.equal(gpu.memory().liveBytes - liveBytes, 2 * Math.max(...sizes) * COLUMNS * 4);
      assert.equal(recordings(replays, ...sizes), 0);
      replays.dispose();
      trimPool();
      assert.equal(gpu.memory().liveBytes, liveBytes, "given back");
    }
  });

  it("of other proportions share an arena that is an eighth larger at the most, else it is made anew", async () => {
    const replays = createReplays();
    const run = async (wide: number, tall: number) => {
      const inputs = { wide: filled(1, wide), tall: filled(2, tall) };
      const made = replays.run("both", inputs, (own) => [add(own.wide, own.wide), add(own.tall, own.tall)]);
      const values = await Promise.all(made.map(readFloats));
      assert.deepEqual(values.map((each) => [each.length, each[0]]), [[wide * COLUMNS, 2], [
        tall * COLUMNS,
        4,
      ]]);
      tf.dispose(inputs);
      trimPool();
      return gpu.memory().liveBytes;
    };
    const rows = (count: number) => count * COLUMNS * 4;
    for (const [wide, tall] of [[100, 20], [20, 100], [90, 30], [60, 60]]) await run(wide, tall); // uniforms stay
    replays.dispose();
    trimPool();
    const { liveBytes } = gpu.memory();
    const taken = async (wide: number, tall: number) => await run(wide, tall) - liveBytes;
    // What comes out last lies where what goes in first was: three tensors of four at once.
    assert.equal(await taken(100, 20), rows(220));
    assert.equal(await taken(20, 100), rows(220), "the same sizes");
    assert.equal(await taken(90, 30), rows(230), "room for both");
    assert.equal(await taken(60, 60), rows(180), "there would have to be room for 260");
    assert.equal(await taken(100, 20), rows(220));
    replays.dispose();
  });

  it("give their memory back between uses where it is more than may be kept, and are recorded no more", async () => {
    const bytes = 2 * 1000 * COLUMNS * 4;
    const uniforms = createReplays();
    recordings(uniforms, 1000); // theirs stay
    uniforms.dispose();
    for (const [keptBytes, held] of [[bytes * 9 / 8, bytes], [bytes, 0]]) {
      trimPool();
      const { liveBytes } = gpu.memory();
      const replays = createReplays({ keptBytes });
      recordings(replays, 1000);
      replays.trim();
      trimPool();
      assert.equal(gpu.memory().liveBytes - liveBytes, held);
      assert.equal(replays.limitBytes(), bytes / 8, "planned for other proportions");
      assert.equal(recordings(replays, 1000), 0);
      const x = filled(5, 1000);
      assert.equal((await readFloats(replays.run("double", { x }, (own) => add(own.x, own.x))))[7], 10);
      x.dispose();
      replays.dispose();
    }
  });

  it("count in a memory plan with what other sizes may take of each kind, all kinds together", () => {
    const passes = makePassReplays();
    assert.equal(passLimitBytes(passes), 0);
    const rowBytes = 2 * 4 * COLUMNS / 8;
    recordings(passes.prompts, 100, 200);
    recordings(passes.passes, 300);
    recordings(passes.promptsBackward, 50);
    assert.equal(passLimitBytes(passes), (200 + 300 + 50) * rowBytes);
    trimPasses(passes);
    assert.equal(recordings(passes.prompts, 200, 100), 0);
    disposePasses(passes);
  });

  it("leave no tensor behind when they cannot be recorded", () => {
    const replays = createReplays();
    const x = filled(1, 4);
    const before = tf.memory().numTensors;
    const build = () => {
      throw new Error("no such op");
    };
    assert.throws(() => replays.run("none", { x }, build), /no such op/);
    assert.equal(tf.memory().numTensors, before);
  });

  it("leave no tensor behind when they are dropped for others, nor at the end", () => {
    const replays = createReplays({ keptDispatches: 2 });
    const before = tf.memory().numTensors;
    recordings(replays, 1000, 1001, 1002);
    const held = tf.memory().numTensors;
    recordings(replays, 1003, 1004, 1005);
    assert.equal(tf.memory().numTensors, held);
    replays.dispose();
    assert.equal(tf.memory().numTensors, before);
  });
});
