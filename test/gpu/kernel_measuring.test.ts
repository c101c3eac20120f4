/** The kernels that a run measures before it begins: once, and kept. On a CPU that is taken for a GPU. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { readTuning, tuneKernels, tuningFile, writeTuning } from "../../src/assembly/kernel_tuning.ts";
import { closeGpu, type GpuInfo, openGpu } from "../../src/gpu/device.ts";
import { chooseLinear, linearClass, type LinearSize } from "../../src/ops/linear/choice.ts";
import { REGISTERS, TILES } from "../../src/ops/linear/tiles.ts";
import { linearSizes, linearSources } from "../../src/ops/linear/tuning.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";

/** One product of each kind, so that little is measured. */
const WEIGHTS = [{ shape: [16, 16], format: "f32", grad: null }] as unknown as Weight[];
const ROWS = 8;
const [FORWARD, BACKWARD] = linearSizes(WEIGHTS, ROWS);
/** The tile that a product is computed with; null: in registers. */
function tileOf(size: LinearSize) {
  const { way, constants } = chooseLinear(size);
  return way === "tile" ? constants : null;
}
/** Is no folder. */
const FILE = fileURLToPath(import.meta.url);
const TILE = "16x32x32 by 4x4";

describe("tuneKernels()", () => {
  let info: GpuInfo;
  before(async () => {
    const gpu = await openGpu();
    const { device } = gpu;
    info = { ...gpu.info, isSoftware: false };
    const { subgroupMinSize, subgroupMaxSize } = device.adapterInfo;
    const adapterInfo = { description: "", device: "", architecture: "", subgroupMinSize, subgroupMaxSize };
    // Room for the smallest tile alone: each that is measured is compiled first.
    const limits = new Proxy(device.limits, {
      get: (all, name) => name === "maxComputeWorkgroupStorageSize" ? 8000 : Reflect.get(all, name),
    });
    Object.defineProperties(device, { adapterInfo: { value: adapterInfo }, limits: { value: limits } });
  });
  after(closeGpu);

  /** What is said on a log, and the tuning file, of a run whose cache holds `known`. */
  async function tune(
    known: Record<string, string> | null,
    { isSoftware = false, isTTY = false, environment = {} as Record<string, string> } = {},
  ) {
    let [text, kept, left] = ["", {} as Record<string, string>, [] as string[]];
    await withScratchFolder(async (folder) => {
      const all = { GRPO_WEBGPU_TUNING_CACHE: join(folder, "cache"), ...environment };
      const path = tuningFile(info, linearSources(), all);
      if (known) await writeTuning(path, info, known);
      const output = { isTTY, write: (part: string) => void (text += part) };
      await tuneKernels({ ...info, isSoftware }, WEIGHTS, ROWS, output, all);
      kept = await readTuning(path);
      left = existsSync(all.GRPO_WEBGPU_TUNING_CACHE) ? await readdir(all.GRPO_WEBGPU_TUNING_CACHE) : [];
      text = text.replaceAll(path, "PATH");
    });
    return { text, kept, left };
  }

  it("uses what the cache holds, measures nothing and says nothing", async () => {
    for (const [variant, tile] of [[TILE, TILES[TILE]], [REGISTERS, null]] as const) {
      const known = { [linearClass(FORWARD)]: variant, [linearClass(BACKWARD)]: variant };
      const { text, kept } = await tune(known);
      assert.deepEqual([text, kept], ["", known]);
      assert.deepEqual([FORWARD, BACKWARD].map(tileOf), [tile, tile]);
    }
  });

  it("measures what the cache lacks, says so, and keeps it beside what was measured for other models", async () => {
    const known = { [linearClass(FORWARD)]: TILE, "linear f32 of another model": REGISTERS };
    const { text, kept, left } = await tune(known);
    const measured = kept[linearClass(BACKWARD)];
    assert.ok([REGISTERS, TILE].includes(measured), measured);
    assert.deepEqual(kept, { ...known, [linearClass(BACKWARD)]: measured });
    assert.deepEqual(tileOf(BACKWARD), TILES[measured] ?? null);
    assert.match(
      text,
      /^measuring this GPU's fastest kernels, once: 0 of 1\nMeasured the fastest kernels in [\d.]+ s; kept in PATH\n$/,
    );
    assert.equal(left.length, 1, left.join());
  });

  it("shows its progress on one line of a terminal", async () => {
    const { text } = await tune({ [linearClass(FORWARD)]: TILE }, { isTTY: true });
    const line = "\r\x1b[Kmeasuring this GPU's fastest kernels, once: ";
    assert.equal(text.indexOf(`${line}0 of 1${line}1 of 1\r\x1b[KMeasured the fastest kernels in `), 0, text);
  });

  it("says why what was measured could not be kept, and goes on", async () => {
    const { text } = await tune(null, { environment: { GRPO_WEBGPU_TUNING_CACHE: join(FILE, "cache") } });
    assert.match(text, /Measured the fastest kernels in [\d.]+ s; not kept: .*kernel_measuring/);
  });

  it("measures nothing on a CPU, nor where GRPO_WEBGPU_TUNING is off", async () => {
    assert.deepEqual(await tune(null, { isSoftware: true }), { text: "", kept: {}, left: [] });
    for (const off of ["off", "0", "No"]) {
      const environment = { GRPO_WEBGPU_TUNING: off };
      assert.deepEqual(await tune(null, { environment }), { text: "", kept: {}, left: [] });
    }
  });
});
