/** A GPU that cannot do what it was asked stops the run: never zeros. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as tf from "@tensorflow/tfjs";
import { type KernelCall, runKernel } from "../../src/gpu/dispatch.ts";
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
      runKernel(addCall({ a: doubled, b: x, y: sum }));
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
        runKernel(addCall({ a: large, b: large, y: large }));
      },
      new RegExp(
        `needs ${columns * 4} bytes, this GPU binds at most ${limit}|${columns * 4} bytes, this GPU allows`,
      ),
    );
  });

  it("a call that does not fit the kernel's text is refused with the file and the names", () => {
    const [a, b, y] = [1, 2, 3].map(() => uploadTensor(new Float32Array(4), [2, 2]));
    const call = addCall({ a, b, y });
    const file = "kernels/elementwise/add\\.wgsl";
    const refused = (change: Partial<KernelCall>, said: string) =>
      assert.throws(() => runKernel({ ...call, ...change }), new RegExp(`${file}: ${said}`));
    refused({ bindings: { a, b } }, "its bindings are a, b, y; missing: y; unknown: none");
    refused({ bindings: { a, b, y, z: y } }, "its bindings are a, b, y; missing: none; unknown: z");
    refused({ params: { count: 1 } }, "its params are count, s; missing: s; unknown: none");
    refused({ params: { count: 1, s: 1, S: 1 } }, "its params are count, s; missing: none; unknown: S");
    refused({ params: { count: -1, s: 1 } }, "the param count is u32, got -1");
    refused({ params: { count: 0.5, s: 1 } }, "the param count is u32, got 0.5");
    refused({ constants: { WG: 1 } }, "its overrides are .*; unknown: none; missing: SPAN");
    refused(
      { constants: { ...call.constants, SPAM: 1 } },
      "its overrides are .*; unknown: SPAM; missing: none",
    );
    assert.throws(
      () => runKernel({ ...call, conditions: { VEC5: true } }),
      /add\.wgsl with the condition VEC5/,
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
    // WebGPU binds at multiples of 256 bytes.
    runKernel(addCall({ a: { tensor: x, offsetBytes: 4, sizeBytes: 8 }, b: x, y: sum }));
    await assert.rejects(readFloats(sum), /The GPU rejected work/);
    assert.throws(() => add(x, x), /The GPU rejected work/);
    await assert.rejects(readFloats(x), /The GPU rejected work/);
  });
});

function bufferOf(tensor: tf.Tensor): GPUBuffer {
  return tfjsBackend().tensorMap.get(tensor.dataId).resource!;
}

/** y = a + b of up to four values. */
function addCall(bindings: KernelCall["bindings"]): KernelCall {
  return {
    kernel: "add",
    constants: { WG: 4, SPAN: 4 },
    bindings,
    params: { count: 4, s: 1 },
    workgroups: [1, 1, 1],
  };
}
