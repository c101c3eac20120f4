/** GPUs by the names that people call them, to plan a run for one that is not here. */
import type { OtherDevice } from "../gpu/rehearsal.ts";
import type { PrecisionFacts } from "../policy/precision.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** MiB, as nvidia-smi says the whole memory. */
const NVIDIA_MIB: Readonly<Record<string, number>> = {
  "b200": 183359,
  "h200": 143771,
  "h100": 81559,
  "a100-80": 81920,
  "a100-40": 40960,
  "l40s": 46068,
  "a6000": 49140,
  "5090": 32607,
  "4090": 24564,
  "3090": 24576,
  "l4": 23034,
  "a10": 23028,
  "v100-32": 32768,
  "v100-16": 16384,
  "t4": 15360,
};

/** Of a GPU without a display: what driver and context take before a program makes its first buffer. */
const DRIVER_BYTES = 600 * MIB;

/** Of a card's memory, what its driver may take beside our buffers: pipelines, alignment, what is freed late. */
export const DRIVER_SHARE = 0.05;

/** Apple's GPUs share the machine's memory, of which Metal recommends to use so much. */
const APPLE_SHARE = 0.75;
const APPLE = /^m[1-9](?:-?(?:pro|max|ultra))?-(\d+)$/;

/** As Dawn says them on NVIDIA's Vulkan driver, which are the smaller ones. */
const LIMITS = { maxBufferSize: 2 ** 32 - 4, maxStorageBufferBindingSize: 2 ** 31 - 4 };
const HARDWARE = { vendor: "", device: "", description: "planned", subgroupMinSize: 32, subgroupMaxSize: 32 };

/** What a run is planned for. */
export interface PlanTarget {
  name: string;
  /** Free bytes, and how that is known. */
  budget: { bytes: number; source: string };
  device: OtherDevice;
  precision: PrecisionFacts;
}

/**
 * The GPU of a name ("h100", "a100-40", "m3-64" of 64 GiB), or one with so many GiB free ("22.5").
 * @throws RangeError when it is neither; it lists the names
 */
export function planTarget(text: string): PlanTarget {
  const name = text.trim().toLowerCase().replace(/^(nvidia|rtx|geforce|apple)[ -]*/, "");
  const target = (bytes: number, source: string): PlanTarget => ({
    name,
    budget: { bytes, source },
    device: { ...LIMITS, adapterInfo: { ...HARDWARE, device: name } },
    // Matrix units take no memory: what the kernels without them take is planned.
    precision: { isSoftware: false, hasMatrices: false },
  });
  if (Object.hasOwn(NVIDIA_MIB, name)) {
    const bytes = Math.floor((1 - DRIVER_SHARE) * NVIDIA_MIB[name] * MIB) - DRIVER_BYTES;
    return target(bytes, `${name}, less what its driver takes`);
  }
  const [, shared] = APPLE.exec(name) ?? [];
  if (shared !== undefined) return target(Number(shared) * APPLE_SHARE * GIB, `${name}, as Metal recommends`);
  if (/^\d+(\.\d+)?$/.test(name) && Number(name) > 0) return target(Number(name) * GIB, "as given");
  throw new RangeError(
    `Cannot plan for the GPU "${text}": required one of ${
      Object.keys(NVIDIA_MIB).join(", ")
    }, an Apple chip with ` +
      "its GiB (m3-64), or the GiB that are free on another",
  );
}
