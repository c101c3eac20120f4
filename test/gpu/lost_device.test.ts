/** A GPU that goes away amid a run ends it with the line that says how to go on. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { readFloats, uploadTensor } from "../../src/gpu/bridge.ts";
import { assertGpuHealthy, closeGpu, openGpu } from "../../src/gpu/device.ts";
import { add } from "../../src/ops/add.ts";

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
