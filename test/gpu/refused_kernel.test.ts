/** A kernel that the GPU's compiler refuses stops the run, and says which file of ours it was. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { runKernel } from "../../src/gpu/dispatch.ts";
import { compileKernels } from "../../src/gpu/kernel.ts";
import { emptyTensor, readFloats, uploadTensor } from "../../src/gpu/tensors.ts";

describe("a kernel that is refused", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("fails the next read, which names its file", async () => {
    const x = uploadTensor(Float32Array.of(1, 2, 3, 4), [2, 2]);
    const y = emptyTensor([2, 2]);
    runKernel({
      kernel: "add",
      constants: { WG: 1 << 20, SPAN: 1 << 20 }, // no device has so many lanes in a workgroup
      bindings: { a: x, b: x, y },
      params: { count: 4, s: 1 },
      workgroups: [1, 1, 1],
    });
    await assert.rejects(readFloats(y), /The GPU rejected work.*kernels\/elementwise\/add\.wgsl: /s);
  });

  it("fails the next read also where it was compiled ahead", async () => {
    const x = uploadTensor(Float32Array.of(1, 2, 3, 4), [2, 2]);
    await compileKernels([{ kernel: "swiglu", constants: { WG: 1 << 20, SPAN: 1 << 20 } }]);
    await assert.rejects(readFloats(x), /The GPU rejected work.*kernels\/elementwise\/swiglu\.wgsl: /s);
  });
});
