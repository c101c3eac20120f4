/** The kernels that a run measures before it begins: once, and kept. On a CPU that is taken for a GPU. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { readTuning, tuneKernels, tuningFile, writeTuning } from "../../src/assembly/kernel_tuning.ts";
import type { TuningEvents } from "../../src/assembly/events.ts";
import { closeGpu, type GpuInfo, openGpu } from "../../src/gpu/device.ts";
import { chooseLinear, linearClass, type LinearSize } from "../../src/ops/linear/choice.ts";
import { REGISTERS, TILES } from "../../src/ops/linear/tiles.ts";
import { linearSizes, linearSources } from "../../src/ops/linear/tuning.ts";
import type { Weight } from "../../src/ops/weight/weight.ts";
import { layersOfCases, takeTuning } from "../../bench/tuning.ts";
import { cases as linearCases } from "../cases/linear/linear.ts";
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
    // Room for the smallest tiles alone: each that is measured is compiled first.
    const limits = new Proxy(device.limits, {
      get: (all, name) => name === "maxComputeWorkgroupStorageSize" ? 8000 : Reflect.get(all, name),
    });
    const stated = { adapterInfo: { value: adapterInfo, configurable: true }, limits: { value: limits } };
    Object.defineProperties(device, stated);
  });
  after(closeGpu);

  /** What is told, and the tuning file, of a run whose cache holds `known`. */
  async function tune(
    known: Record<string, string> | null,
    { isSoftware = false, environment = {} as Record<string, string> } = {},
  ) {
    const told: string[] = [];
    let [kept, left] = [{} as Record<string, string>, [] as string[]];
    await withScratchFolder(async (folder) => {
      const all = { GRPO_WEBGPU_TUNING_CACHE: join(folder, "cache"), ...environment };
      const path = tuningFile(info, linearSources(), all);
      if (known) await writeTuning(path, info, known);
      const events: TuningEvents = {
        onMeasuring: (done, total) => told.push(`${done} of ${total}`),
        onMeasured: ({ seconds, path: file, failure }) => {
          assert.ok(seconds > 0);
          assert.equal(file, path);
          told.push(failure ?? "kept");
        },
      };
      const layers = { weights: WEIGHTS, mostRows: ROWS };
      await tuneKernels({ ...info, isSoftware }, layers, { events, environment: all });
      kept = await readTuning(path);
      left = existsSync(all.GRPO_WEBGPU_TUNING_CACHE) ? await readdir(all.GRPO_WEBGPU_TUNING_CACHE) : [];
    });
    return { told, kept, left };
  }

  it("uses what the cache holds, measures nothing and says nothing", async () => {
    for (const [variant, tile] of [[TILE, TILES[TILE]], [REGISTERS, null]] as const) {
      const known = { [linearClass(FORWARD)]: variant, [linearClass(BACKWARD)]: variant };
      const { told, kept } = await tune(known);
      assert.deepEqual([told, kept], [[], known]);
      assert.deepEqual([FORWARD, BACKWARD].map(tileOf), [tile, tile]);
    }
  });

  it("measures what the cache lacks, says so, and keeps it beside what was measured for other models", async () => {
    const known = { [linearClass(FORWARD)]: TILE, "linear f32 of another model": REGISTERS };
    const { told, kept, left } = await tune(known);
    const measured = kept[linearClass(BACKWARD)];
    assert.ok(measured === REGISTERS || measured in TILES, measured);
    assert.deepEqual(kept, { ...known, [linearClass(BACKWARD)]: measured });
    assert.deepEqual(tileOf(BACKWARD), TILES[measured] ?? null);
    assert.deepEqual(told, ["0 of 1", "1 of 1", "kept"]);
    assert.equal(left.length, 1, left.join());
  });

  it("says why what was measured could not be kept, and goes on", async () => {
    const { told } = await tune(null, { environment: { GRPO_WEBGPU_TUNING_CACHE: join(FILE, "cache") } });
    assert.match(told.at(-1)!, /kernel_measuring/);
  });

  it("a benchmark uses what is known and measures nothing; where it is told to, what is missing, for runs too", async () => {
    await withScratchFolder(async (folder) => {
      const environment = { GRPO_WEBGPU_TUNING_CACHE: join(folder, "cache") };
      const path = tuningFile(info, linearSources(), environment);
      const known = { [linearClass(FORWARD)]: TILE };
      await writeTuning(path, info, known);
      await takeTuning({ info }, null, environment);
      assert.deepEqual(await readTuning(path), known);
      assert.deepEqual(tileOf(FORWARD), TILES[TILE]);
      await takeTuning({ info }, { weights: WEIGHTS, mostRows: ROWS }, environment);
      const kept = await readTuning(path);
      assert.deepEqual(Object.keys(kept).sort(), [linearClass(FORWARD), linearClass(BACKWARD)].sort());
      assert.deepEqual(kept[linearClass(FORWARD)], TILE);
    });
  });

  it("layersOfCases() names the weights of cases, trained where a gradient is taken, and the most rows", () => {
    const [of] = linearCases.filter(({ benchOnly, inputs }) => benchOnly && inputs.w?.weight === "f32");
    const { weights, mostRows } = layersOfCases([of]);
    assert.equal(mostRows, of.inputs.x.shape[0]);
    assert.ok(weights.some(({ shape, grad }) => shape === of.inputs.w.shape && grad !== null));
    assert.deepEqual(layersOfCases([]), { weights: [], mostRows: 0 });
  });

  it("measures nothing on a CPU, nor where GRPO_WEBGPU_TUNING is off", async () => {
    assert.deepEqual(await tune(null, { isSoftware: true }), { told: [], kept: {}, left: [] });
    for (const off of ["off", "0", "No"]) {
      const environment = { GRPO_WEBGPU_TUNING: off };
      assert.deepEqual(await tune(null, { environment }), { told: [], kept: {}, left: [] });
    }
  });
});
