/** What is queued runs in its order, on its own sizes, and no number of a GPU that failed is believed. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { tfjsBackend } from "../../src/gpu/backend.ts";
import { runKernel } from "../../src/gpu/dispatch.ts";
import { settle } from "../../src/gpu/queue.ts";
import {
  beginRead,
  clearTensor,
  copyOf,
  copyTensor,
  newTensor,
  readFloats,
  readTensor,
  resizeTensor,
  uploadTensor,
  writeTensor,
} from "../../src/gpu/tensors.ts";
import { awaitGpu, closeGpu, openGpu, waitedSeconds } from "../../src/gpu/device.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { profileKernels } from "../../src/gpu/profile.ts";
import { readTimestamps } from "../../src/gpu/timing.ts";
import { add } from "../../src/ops/elementwise/add.ts";
import { gatherRows } from "../../src/ops/rows/gather_rows.ts";
import { swiglu } from "../../src/ops/elementwise/swiglu.ts";
import { leftOut } from "../left_out.ts";

const filled = (value: number, length = 8) => uploadTensor(new Float32Array(length).fill(value), [1, length]);
const ids = (...values: number[]) => uploadTensor(Int32Array.from(values), [values.length]);

/** 0, 1, 2, ... laid out in rows, every row picked. */
async function picked(times: number, width: number): Promise<number[]> {
  const count = times * width;
  const x = uploadTensor(Float32Array.from({ length: count }, (_, i) => i), [times, width]);
  const rows = ids(...Array.from({ length: times }, (_, row) => row));
  return Array.from(await readFloats(gatherRows(x, rows, rows)));
}

/** Sums of the first `columns` columns of ones in rows of 11. */
async function columnSums(rows: number, columns: number): Promise<number[]> {
  const [dy, db] = [filled(1, rows * 11), uploadTensor(new Float32Array(columns), [columns])];
  runKernel({
    kernel: "linear_grad_bias",
    constants: { WG: 64 },
    bindings: { dy, db },
    params: { rows, columns, stride: 11 },
    workgroups: [1, 1, 1],
  });
  return Array.from(await readFloats(db));
}

describe("kernels and copies", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("of sizes that are written with the same digits do not share them", async () => {
    const counting = (count: number) => Array.from({ length: count }, (_, i) => i);
    assert.deepEqual(await picked(1, 111), counting(111));
    assert.deepEqual(await picked(11, 11), counting(121));
    assert.deepEqual(await picked(111, 1), counting(111));
    assert.deepEqual(await columnSums(1, 11), new Array(11).fill(1));
    assert.deepEqual(await columnSums(11, 1), [11]);
  });

  it("that were queued before a tensor is overwritten see what it held then", async () => {
    const x = filled(1);
    const before = add(x, x);
    writeTensor(x, new Float32Array(8).fill(5));
    const after = add(x, x);
    assert.deepEqual([...await readFloats(before)], Array(8).fill(2));
    assert.deepEqual([...await readFloats(after)], Array(8).fill(10));
  });

  it("that were queued before a replay are done before it, and those after it see what it made", async () => {
    const [x, total] = [filled(0), filled(0)];
    const plan = recordPlan(() => add(x, total));
    for (const value of [3, 4]) {
      const sum = add(filled(value), filled(1));
      copyTensor(sum, x);
      plan.replay();
      assert.deepEqual([...await readFloats(copyOf(plan.outputs))], Array(8).fill(value + 1));
    }
    plan.dispose();
  });

  it("that read a plan's output are done before the plan is freed", async () => {
    const x = filled(3);
    const plan = recordPlan(() => add(x, x));
    plan.replay();
    const copy = copyOf(plan.outputs);
    plan.dispose();
    assert.deepEqual([...await readFloats(copy)], Array(8).fill(6));
  });

  it("a reading that was begun gives what was there then, whatever is written before it is asked for", async () => {
    const x = filled(1);
    const before = beginRead(x);
    writeTensor(x, new Float32Array(8).fill(2));
    const after = beginRead(x);
    assert.deepEqual([...await after.values()], Array(8).fill(2));
    assert.deepEqual([...await before.values()], Array(8).fill(1));
    assert.equal((await readFloats(x))[0], 2);
  });

  it("a plan goes on over a tensor that was given more rows, or its memory anew, and finds what it held", async () => {
    let x = uploadTensor(Float32Array.from({ length: 8 }, (_, i) => i), [1, 8]);
    const plan = recordPlan(() => add(x, x));
    const doubled = async () => {
      plan.replay();
      return [...await readFloats(plan.outputs)];
    };
    assert.deepEqual(await doubled(), [0, 2, 4, 6, 8, 10, 12, 14]);
    x = resizeTensor(x, 3);
    assert.deepEqual(x.shape, [3, 8]);
    assert.deepEqual(await doubled(), [0, 2, 4, 6, 8, 10, 12, 14]);
    x = resizeTensor(x, 0);
    assert.throws(() => plan.replay(), /recorded over is gone/);
    x = resizeTensor(x, 2);
    writeTensor(x, new Float32Array(16).fill(7));
    assert.deepEqual(await doubled(), Array(8).fill(14));
    plan.dispose();
    x.dispose();
  });

  it("a plan of more dispatches than are submitted at once runs all of them, in order", async () => {
    const [x, one] = [filled(0), filled(1)];
    const plan = recordPlan(() => {
      let sum = add(x, one);
      for (let i = 1; i < 300; i++) sum = add(sum, one);
      return add(sum, x, 0.5);
    });
    plan.replay(9);
    assert.deepEqual([...await readFloats(plan.outputs)], Array(8).fill(300));
    plan.dispose();
  });

  it("that write a tensor after it was read back are seen by the next reading", async () => {
    const x = filled(1);
    assert.equal((await readFloats(x))[0], 1);
    writeTensor(x, new Float32Array(8).fill(2));
    assert.equal((await readFloats(x))[0], 2);
    clearTensor(x);
    assert.equal((await readFloats(x))[0], 0);
  });

  it("take of an array the part that was asked for, and put it where it was asked for", async () => {
    const x = filled(0);
    writeTensor(x, Float32Array.of(1, 2, 3, 4, 5).subarray(2, 4), 4 * 3);
    assert.deepEqual([...await readFloats(x)], [0, 0, 0, 3, 4, 0, 0, 0]);
  });

  it("a tensor one row over the GPU's largest buffer is refused by its size, before the GPU is asked", () => {
    const { maxBufferSize } = tfjsBackend().device.limits;
    const words = Math.floor(maxBufferSize / 4) + 1;
    assert.throws(
      () => newTensor([1, words]),
      new RegExp(`${4 * words} bytes, this GPU allows ${maxBufferSize}`),
    );
  });

  it("waits side by side count from the first until the last, once", async () => {
    const resolvers: (() => void)[] = [];
    const work = () => new Promise<void>((resolve) => void resolvers.push(resolve));
    const [waited, opened] = [waitedSeconds(), performance.now()];
    const first = awaitGpu(work());
    const begun = performance.now();
    while (performance.now() - begun < 30);
    const second = awaitGpu(work());
    const [least, counted] = [performance.now() - begun, () => 1000 * (waitedSeconds() - waited)];
    resolvers.forEach((resolve) => resolve());
    await Promise.all([first, second]);
    assert.ok(counted() >= least, `${counted()} ms, the second began ${least} ms after the first`);
    const most = performance.now() - opened;
    assert.ok(counted() <= most, `${counted()} ms of ${most}`);
  });

  it("a profile gives each kernel its own calls, also past those that one query set times", async (t) => {
    if (!tfjsBackend().device.features.has("timestamp-query")) {
      return t.skip(leftOut(t.name, "no timestamps here"));
    }
    const x = filled(1);
    const plan = recordPlan(() => add(x, x));
    const profile = await profileKernels(() => {
      plan.replay(2048); // a query set
      swiglu(x, x);
    });
    plan.dispose();
    const calls = Object.fromEntries(profile.map(({ kernel, calls }) => [kernel, calls]));
    assert.deepEqual(calls, { "add VEC4": 2048, "swiglu VEC4": 1 });
    assert.equal(profile[0].kernel, "add VEC4", "what took longest comes first");
  });

  it("are run as before after a profile, also after one that failed", async (t) => {
    if (!tfjsBackend().device.features.has("timestamp-query")) {
      return t.skip(leftOut(t.name, "no timestamps here"));
    }
    const x = filled(3);
    const failing = profileKernels(() => {
      tf.add(x, x);
      throw new Error("no such op");
    });
    await assert.rejects(failing, /no such op/);
    await profileKernels(() => void tf.add(x, x));
    assert.equal((await readFloats(tf.add(x, x)))[0], 6);
    assert.equal((await readFloats(add(x, x)))[0], 6);
  });

  // Last: a device that has failed once is not trusted again.
  it("of a GPU that rejected work since they ran are not read, though they need no more work", async () => {
    const { device } = tfjsBackend();
    const isTimed = device.features.has("timestamp-query");
    const querySet = isTimed ? device.createQuerySet({ type: "timestamp", count: 2 }) : null;
    const sum = add(filled(1), filled(2));
    await settle();
    device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
    await device.queue.onSubmittedWorkDone();
    await assert.rejects(readTensor(sum), /The GPU rejected work/);
    if (querySet) {
      await assert.rejects(readTimestamps(device, querySet, 2), /The GPU rejected work/, "nor timed");
    }
  });
});
