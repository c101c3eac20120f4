/** A device has all that its GPU offers; when it goes away, the run ends with the line that says how to go on. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { readFloats, uploadTensor } from "../../src/gpu/tensors.ts";
import { closeGpu, openAdapter, openGpu } from "../../src/gpu/device.ts";
import { assertGpuHealthy } from "../../src/gpu/failure.ts";
import { add } from "../../src/ops/elementwise/add.ts";

it("a device has the features that make kernels faster, and every limit, where its GPU offers them", async () => {
  const { features, limits } = await openAdapter();
  const { device } = await openGpu();
  for (const name of ["timestamp-query", "shader-f16", "subgroups"] as GPUFeatureName[]) {
    assert.equal(device.features.has(name), features.has(name), name);
  }
  const names = [
    "maxBufferSize",
    "maxStorageBufferBindingSize",
    "maxComputeInvocationsPerWorkgroup",
  ] as const;
  for (const name of names) assert.equal(device.limits[name], limits[name], name);
});

// Last: what is lost does not come back.
it("a GPU device that was lost is never taken for one that works", async () => {
  const { device } = await openGpu();
  const x = uploadTensor(Float32Array.of(1, 2, 3, 4), [1, 4]);
  const sum = add(x, x);
  assert.deepEqual([...await readFloats(sum)], [2, 4, 6, 8]);
  device.destroy();
  await device.lost;
  assert.throws(assertGpuHealthy, /The GPU device was lost .*Start the same command again: it resumes/);
  assert.throws(() => add(x, x), /The GPU device was lost/, "no kernel is queued");
  await assert.rejects(readFloats(sum), /The GPU device was lost/, "not even what was read before");
  await closeGpu();
});
