/** Run on the newer Vulkan: it has what kernels on matrix units need. */
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { closeGpu, type Gpu, openGpu } from "../../src/gpu/device.ts";

let gpu: Gpu;
before(async () => void (gpu = await openGpu()));
after(closeGpu);

it("a newer software Vulkan multiplies 8x8x8 matrices of f16 and sums in f32", () => {
  assert.ok(gpu.info.features.includes("chromium-experimental-subgroup-matrix"));
  assert.ok(gpu.info.subgroupMatrixConfigs.includes("f16->f32 8x8x8"), gpu.info.driver);
});
