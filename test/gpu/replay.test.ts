/** Functions recorded once per shape and replayed. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { trimPool } from "../../src/gpu/pool.ts";
import { copyOf, readFloats, uploadTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, type Gpu, openGpu } from "../../src/gpu/device.ts";
import { createReplays, type Replays } from "../../src/gpu/replay.ts";
import { add } from "../../src/ops/elementwise/add.ts";
import { swiglu } from "../../src/ops/elementwise/swiglu.ts";

const filled = (value: number, rows: number) =>
  uploadTensor(new Float32Array(rows * 8).fill(value), [rows, 8]);

describe("replays", () => {
  let gpu: Gpu;
  let builds = 0;
  before(async () => void (gpu = await openGpu()));
  after(closeGpu);

  /** x + 2 y, and how often it was built. */
  const sumOf = (replays: Replays, x: Tensor, y: Tensor) =>
    replays.run("sum", { x, list: [y, null] }, (own) => {
      builds++;
      return { sum: add(own.x, own.list[0]!, 2) };
    }).sum;

  it("build a function once for inputs of one shape, and give what it makes of the inputs at hand", async () => {
    const replays = createReplays();
    builds = 0;
    for (const [x, y] of [[1, 2], [3, 4], [5, 6]]) {
      const sum = await readFloats(sumOf(replays, filled(x, 3), filled(y, 3)));
      assert.deepEqual([...sum], Array(24).fill(x + 2 * y));
    }
    assert.equal(builds, 1);
    assert.deepEqual([...await readFloats(sumOf(replays, filled(1, 4), filled(1, 4)))], Array(32).fill(3));
    assert.equal(builds, 2);
    replays.dispose();
  });

  it("give a value that lasts where it is copied", async () => {
    const replays = createReplays();
    const first = copyOf(sumOf(replays, filled(1, 3), filled(1, 3)));
    sumOf(replays, filled(7, 3), filled(7, 3));
    assert.equal((await readFloats(first))[0], 3);
    replays.dispose();
  });

  it("record a backward pass, tape and all", async () => {
    const replays = createReplays();
    const gradients = (gate: Tensor, up: Tensor, dy: Tensor) =>
      tf.engine().gradients(() => swiglu(gate, up), [gate, up], dy, false).grads as Tensor[];
    for (const seed of [0.5, -1.5]) {
      const [gate, up, dy] = [filled(seed, 2), filled(2 * seed, 2), filled(1, 2)];
      const direct = await Promise.all(gradients(gate, up, dy).map(readFloats));
      const made = replays.run("swiglu", { gate, up, dy }, (own) => gradients(own.gate, own.up, own.dy));
      assert.deepEqual(await Promise.all(made.map(readFloats)), direct);
    }
    replays.dispose();
  });

  it("record once for each size, in whatever order sizes come, and give of each what it is", async () => {
    const replays = createReplays();
    builds = 0;
    for (const rows of [3, 40, 7, 40, 3, 100, 7, 3, 100]) {
      const sum = await readFloats(sumOf(replays, filled(rows, rows), filled(1, rows)));
      assert.deepEqual([...sum], Array(8 * rows).fill(rows + 2));
    }
    assert.equal(builds, 4);
    replays.dispose();
  });

  it("record again what was used longest ago once there is more to keep, and free all at the end", () => {
    const rows = 2 ** 13;
    const replays = createReplays({ keptDispatches: 3 });
    builds = 0;
    const before = gpu.memory().liveBytes;
    const run = (extra: number) => {
      const [x, y] = [filled(1, rows + extra), filled(1, rows + extra)];
      sumOf(replays, x, y);
      tf.dispose([x, y]);
    };
    for (const extra of [0, 1, 2, 3, 3, 2]) run(extra);
    assert.equal(builds, 4);
    run(0);
    assert.equal(builds, 5, "the first was dropped");
    replays.dispose();
    trimPool();
    assert.ok(gpu.memory().liveBytes <= before, "nothing stays");
  });
});
