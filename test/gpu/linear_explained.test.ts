/** `bench --explain`: which kernels a linear layer takes on this device, and why, as a newcomer asks. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { explainLinear, layerSizes } from "../../bench/explain.ts";
import { tuningFile, writeTuning } from "../../src/assembly/kernel_tuning.ts";
import { hasSimd8, isSoftwareDevice } from "../../src/gpu/device_facts.ts";
import { closeGpu, type Gpu, openGpu } from "../../src/gpu/device.ts";
import { linearSources } from "../../src/ops/linear/tuning.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";

/** That of one product. */
const partOf = (text: string, product: string) =>
  new RegExp(`^${product} +(.*)\n +(.*)`, "m").exec(text)?.slice(1) ?? [];

describe("bench --explain", () => {
  let gpu: Gpu;
  before(async () => void (gpu = await openGpu()));
  after(closeGpu);

  it("names kernel, constants, workgroups and reason of every product", async () => {
    const { text } = await explainLinear(gpu, { M: 512, N: 768, K: 288 });
    assert.match(
      text,
      /linear layer of 512 rows \(many\), 768 outputs and 288 inputs, weight f32, in float32/,
    );
    const isSoftware = isSoftwareDevice();
    const suffix = !isSoftware ? "_tile" : hasSimd8() ? "_simd8" : "";
    for (
      const [product, kernel] of [
        ["output", "linear"],
        ["grad_x", "linear_grad_x"],
        ["grad_w", "linear_grad_w"],
        ["swiglu", isSoftware ? "swiglu_linear" : "linear"],
      ]
    ) {
      const [what, why] = partOf(text, product);
      assert.match(what, new RegExp(`^${kernel}${suffix}\\b.*, [\\d x]+ workgroups$`));
      assert.match(why, /^(two outputs, then swiglu: )?tiles/);
    }
  });

  it("names the row or the format that decided otherwise", async () => {
    const few = await explainLinear(gpu, { M: 1, N: 768, K: 288 }, { format: "bf16", rowCount: "few" });
    assert.match(partOf(few.text, "output").join(), /^linear_few .*reading the weight is the cost/);
    assert.match(partOf(few.text, "swiglu").join(), /^linear_few .*two outputs, then swiglu: /);
    const odd = await explainLinear(gpu, { M: 8, N: 768, K: 290 }, { format: "bf16" });
    assert.match(
      partOf(odd.text, "output").join(),
      /^linear_strided .*rows of 290 bf16 values do not begin on 16 bytes/,
    );
  });

  it("says what was measured for the layer's class on such a device before", async () => {
    await withScratchFolder(async (folder) => {
      const environment = { GRPO_WEBGPU_TUNING_CACHE: join(folder, "cache") };
      // Only a GPU looks for measurements, and no CPU runs a tile.
      const other = { ...gpu, info: { ...gpu.info, isSoftware: false } };
      const path = tuningFile(other.info, linearSources(), environment);
      await writeTuning(path, other.info, { "linear f32 64 x 64 x 64": "registers" });
      const { text } = await explainLinear(other, { M: 64, N: 64, K: 64 }, { environment });
      assert.match(text, /^kernels of this device: measured for 1 classes of sizes, in .*\.json$/m);
      if (!gpu.info.isSoftware) {
        assert.match(partOf(text, "output").join(), /measured to be the fastest for "linear f32/);
      }
    });
  });

  it("asks for three whole numbers", () => {
    assert.deepEqual(layerSizes(["3", "4", "5"]), { M: 3, N: 4, K: 5 });
    for (const typed of [["3", "4"], ["3", "4", "x"], ["3", "4", "0"], ["1", "2", "3", "4"]]) {
      assert.throws(() => layerSizes(typed), /need its rows, outputs and inputs, three whole numbers/);
    }
  });
});
