/** Run with gpu_lanes.ts loaded: kernels are those of an NVIDIA card, on a device that is none. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { hasSimd8, hasSubgroups, isSoftwareDevice, maxSubgroupSize } from "../../src/gpu/device_facts.ts";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { flatGrid } from "../../src/gpu/grids.ts";
import { decodeVariant } from "../../src/ops/attention/attention_decode.ts";
import { chooseLinear } from "../../src/ops/linear/choice.ts";

describe("a stated adapter", () => {
  before(async () => void await openGpu());
  after(closeGpu);

  it("is no software, has 32 lanes, and none of the operations of other subgroups", () => {
    assert.equal(isSoftwareDevice(), false);
    assert.equal(maxSubgroupSize(), 32);
    assert.equal(hasSubgroups(), false);
    assert.equal(hasSimd8(), false);
  });

  it("is given tiles in workgroup memory and the lanes of a GPU", () => {
    const sizes = { rows: 512, columns: 512, summed: 512 };
    assert.equal(chooseLinear({ product: "output", format: "f32", ...sizes }).way, "tile");
    assert.equal(flatGrid(1 << 20).constants.WG, 64);
    const shape = { heads: 4, kvHeads: 4, headDim: 128, scale: 1 };
    assert.deepEqual(decodeVariant(shape, isSoftwareDevice()), {
      WHOLE: false,
      GROUPED: false,
      LANES: 32,
      KEYS: 32,
    });
  });
});
