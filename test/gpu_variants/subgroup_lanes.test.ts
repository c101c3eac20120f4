/** Run with LP_NATIVE_VECTOR_WIDTH set: software Vulkan's subgroups are as wide as the passes say. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { hasNarrowSubgroups, hasSimd8, isSoftwareDevice } from "../../src/gpu/device_facts.ts";
import { closeGpu, type Gpu, openGpu } from "../../src/gpu/device.ts";
import { chooseLinear } from "../../src/ops/linear/choice.ts";

const lanes = Number(process.env.LP_NATIVE_VECTOR_WIDTH) / 32;

describe(`subgroups of ${lanes} lanes`, () => {
  let gpu: Gpu;
  before(async () => void (gpu = await openGpu()));
  after(closeGpu);

  it("are the device's, and run no kernel for 8", () => {
    const { subgroupMinSize, subgroupMaxSize } = gpu.device.adapterInfo;
    assert.deepEqual([subgroupMinSize, subgroupMaxSize], [lanes, lanes]);
    assert.equal(hasSimd8(), false);
    assert.equal(hasNarrowSubgroups(), lanes < 8);
  });

  it("run tiles in registers, as on every device of software", () => {
    assert.ok(isSoftwareDevice());
    const sizes = { rows: 512, columns: 512, summed: 512 };
    assert.equal(chooseLinear({ product: "output", format: "f32", ...sizes }).way, "registers");
  });
});
