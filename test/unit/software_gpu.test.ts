/** A CPU that plays a GPU is known by its name: other kernels are faster there, and doctor says so. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { isSoftware } from "../../src/gpu/device.ts";

const adapter = (description: string, device = "", architecture = "") =>
  ({ description, device, architecture }) as GPUAdapterInfo;

it("isSoftware() knows software Vulkan by any of its names, however they are written", () => {
  assert.ok(isSoftware(adapter("llvmpipe (LLVM 15.0.7, 256 bits)")), "description");
  assert.ok(isSoftware(adapter("", "SwiftShader Device (Subzero)")), "device");
  assert.ok(isSoftware(adapter("", "", "lavapipe")), "architecture");
  assert.ok(isSoftware(adapter("Microsoft Basic Render Driver (Software)")), "capitals");
  assert.ok(!isSoftware(adapter("NVIDIA H100 80GB HBM3", "0x2330", "hopper")), "a GPU");
});
