/** Kernels are compiled once: when they are needed, or ahead of that, side by side. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { compileKernels, kernelsAsked, type KernelVariant } from "../../src/gpu/kernel.ts";
import { recordPlan } from "../../src/gpu/plan.ts";
import { rehearse } from "../../src/gpu/rehearsal.ts";
import { emptyTensor, readFloats, uploadTensor } from "../../src/gpu/tensors.ts";
import { add } from "../../src/ops/elementwise/add.ts";
import { swiglu } from "../../src/ops/elementwise/swiglu.ts";

/** Compilations that were begun. */
const begun = { atOnce: 0, ahead: 0 };

before(async () => {
  const { device } = await openGpu();
  const [atOnce, ahead] = [
    device.createComputePipeline.bind(device),
    device.createComputePipelineAsync.bind(device),
  ];
  device.createComputePipeline = (descriptor) => (begun.atOnce++, atOnce(descriptor));
  device.createComputePipelineAsync = (descriptor) => (begun.ahead++, ahead(descriptor));
});
after(closeGpu);

/** @returns compilations that `body` began, at once and ahead */
async function compilations(body: () => unknown): Promise<[number, number]> {
  const { atOnce, ahead } = begun;
  await body();
  return [begun.atOnce - atOnce, begun.ahead - ahead];
}

describe("a kernel", () => {
  it("that was compiled ahead is not compiled again when it runs, nor when it is asked for again", async () => {
    const x = uploadTensor(Float32Array.of(1, 2, 3), [1, 3]);
    let asked: KernelVariant[] = [];
    await rehearse(() => {
      const y = emptyTensor([1, 3]);
      add(swiglu(y, y), y);
      asked = kernelsAsked();
      return Promise.resolve();
    });
    assert.deepEqual(asked.map(({ kernel }) => kernel).sort(), ["add", "swiglu"]);
    assert.deepEqual(await compilations(() => compileKernels(asked)), [0, 2]);
    assert.deepEqual(await compilations(() => compileKernels([...asked, ...asked])), [0, 0]);
    assert.deepEqual(
      await compilations(async () => assert.ok((await readFloats(add(swiglu(x, x), x)))[0] > 1)),
      [0, 0],
    );
  });

  it("that nobody compiled ahead is compiled when it runs, and once", async () => {
    const x = uploadTensor(new Float32Array(8).fill(1), [2, 4]);
    assert.deepEqual(await compilations(() => readFloats(add(add(x, x), x))), [1, 0]);
  });

  it("of a plan is compiled before its replay, where the plan is asked to, or else then", async () => {
    const x = uploadTensor(Float32Array.of(1, 2, 3, 4), [1, 4]);
    const plan = recordPlan(() => swiglu(add(x, x), x));
    assert.deepEqual(await compilations(() => plan.compile()), [0, 1]);
    assert.deepEqual(await compilations(() => plan.replay()), [0, 0]);
    assert.deepEqual([...await readFloats(plan.outputs)], [...await readFloats(swiglu(add(x, x), x))]);
    plan.dispose();
  });
});
