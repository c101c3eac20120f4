/** A trial states another adapter than the device has: kernels are chosen by it, and none that its lanes would not run. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { hasSimd8, hasSubgroups, isSoftwareDevice, maxSubgroupSize } from "../../src/gpu/device_facts.ts";
import { closeGpu, type Gpu, openGpu } from "../../src/gpu/device.ts";
import { matrixUnitsMissing } from "../../src/gpu/precision.ts";
import { withGpuLanes } from "../../src/gpu/trial_modes.ts";
import { chooseLinear } from "../../src/ops/linear/choice.ts";
import { deviceCandidates } from "../../src/ops/linear/facts.ts";
import { leftOut } from "../left_out.ts";

describe("withGpuLanes()", () => {
  let gpu: Gpu;
  before(async () => void (gpu = await openGpu()));
  after(closeGpu);

  it("states 32 lanes, and excludes operations of subgroups that have others", () => {
    const { subgroupMinSize, subgroupMaxSize } = gpu.device.adapterInfo;
    const has32 = gpu.device.features.has("subgroups") && subgroupMinSize === 32 && subgroupMaxSize === 32;
    withGpuLanes(() => {
      assert.equal(maxSubgroupSize(), 32);
      assert.equal(hasSubgroups(), has32);
      assert.equal(hasSimd8(), false);
      if (!has32) assert.match(matrixUnitsMissing() ?? "", /lacks subgroups/);
    });
  });

  it("is given tiles in workgroup memory also where the device was asked before, which it is again after", (t) => {
    if (!isSoftwareDevice()) return t.skip(leftOut(t.name, "this device is a GPU"));
    const size = { product: "output", format: "f32", rows: 512, columns: 512, summed: 512 } as const;
    const own = chooseLinear(size).way;
    assert.notEqual(own, "tile");
    const candidates = withGpuLanes(() => {
      assert.equal(isSoftwareDevice(), false);
      assert.equal(chooseLinear(size).way, "tile");
      return deviceCandidates();
    });
    assert.ok(candidates.length > 1);
    assert.equal(chooseLinear(size).way, own);
    assert.equal(deviceCandidates().length, 1);
  });
});
