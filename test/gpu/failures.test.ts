/** A GPU that cannot do what it was asked stops the run: never zeros. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { f32, runKernel, u32 } from "../../src/gpu/dispatch.ts";
import { emptyTensor, newTensor, readFloats, uploadTensor } from "../../src/gpu/tensors.ts";
import { tfjsBackend } from "../../src/gpu/backend.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { add } from "../../src/ops/elementwise/add.ts";

describe("gpu failures", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("a plan may hold our ops only", () => {
    const x = uploadTensor(new Float32Array(4), [2, 2]);
    assert.throws(() => recordPlan(() => void tf.add(x, x)), /Cannot record a stock tfjs op/);
  });

  it("a plan refuses a tensor that is not on the GPU yet", () => {
    const onHost = tf.zeros([2, 2]);
    assert.throws(() => recordPlan(() => void add(onHost, onHost)), /not on the GPU yet/);
  });

  it("a plan replays on what its inputs hold by then, and reading its output sees each replay", async () => {
    const x = uploadTensor(Float32Array.of(1, 2, 3, 4), [2, 2]);
    const sum = emptyTensor([2, 2]);
    const plan = recordPlan(() => {
      const doubled = add(x, x);
      runKernel({
        kernel: "add",
        bindings: [{ tensor: doubled }, { tensor: x }, { tensor: sum, written: true }],
        params: [u32(4), f32(1)],
        workgroups: [1, 1, 1],
      });
    });
    plan.replay();
    assert.deepEqual(Array.from(await readFloats(sum)), [3, 6, 9, 12]);
    tfjsBackend().queue.writeBuffer(bufferOf(x), 0, Float32Array.of(10, 0, 0, 0));
    plan.replay();
    assert.deepEqual(Array.from(await readFloats(sum)), [30, 0, 0, 0]);
    plan.dispose();
  });

  it("a tensor over the binding limit is refused with its size and the limit", () => {
    const limit = tfjsBackend().device.limits.maxStorageBufferBindingSize;
    const columns = limit / 4 + 64;
    assert.throws(
      () => {
        const large = newTensor([1, columns]);
        runKernel({ kernel: "add", bindings: [{ tensor: large }], params: [u32(1)], workgroups: [1, 1, 1] });
      },
      new RegExp(
        `needs ${columns * 4} bytes, this GPU binds at most ${limit}|${columns * 4} bytes, this GPU allows`,
      ),
    );
  });

  it("an empty tensor is refused", () => {
    assert.throws(() => newTensor([0, 3]), /need at least one element/);
  });

  // Last: a device that has failed once is not trusted again.
  it("an invalid dispatch stops the next read instead of reading zeros", async () => {
    const x = uploadTensor(Float32Array.of(1, 2, 3, 4), [2, 2]);
    const sum = emptyTensor([2, 2]);
    const before = await readFloats(add(x, x));
    assert.deepEqual([...before], [2, 4, 6, 8]);
    runKernel({
      kernel: "add",
      bindings: [{ tensor: x }, { tensor: sum, written: true }], // one too few
      params: [u32(4), f32(1)],
      workgroups: [1, 1, 1],
    });
    await assert.rejects(readFloats(sum), /The GPU rejected work/);
    assert.throws(() => add(x, x), /The GPU rejected work/);
    await assert.rejects(readFloats(x), /The GPU rejected work/);
  });
});

function bufferOf(tensor: tf.Tensor): GPUBuffer {
  return tfjsBackend().tensorMap.get(tensor.dataId).resource!;
}
