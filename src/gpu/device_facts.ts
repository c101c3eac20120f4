/** What ops ask of the device that is open: its limits, and which kernels suit it. */
import { modes, type StatedAdapter, tfjsBackend } from "./backend.ts";
import { isSoftware } from "./device.ts";

/** What the adapter of the open device says of itself, or what a trial states in its place. */
export function adapterInfo(): StatedAdapter {
  return modes.statedAdapter ?? tfjsBackend().device.adapterInfo as StatedAdapter;
}

/** Whether kernels may use operations of subgroups: not where a trial states other lanes than there are. */
export function hasSubgroups(): boolean {
  const { features, adapterInfo: own } = tfjsBackend().device;
  const { subgroupMinSize, subgroupMaxSize } = adapterInfo();
  return features.has("subgroups") && own.subgroupMinSize === subgroupMinSize &&
    own.subgroupMaxSize === subgroupMaxSize;
}

/**
 * Whether this device runs the kernels written for subgroups of exactly 8 lanes: software Vulkan under Dawn. They
 * exist beside a plain kernel that gives the same bits.
 */
export function hasSimd8(): boolean {
  const { subgroupMinSize, subgroupMaxSize } = adapterInfo();
  return !modes.plainKernels && hasSubgroups() && subgroupMinSize === 8 && subgroupMaxSize === 8;
}

/** Whether only plain kernels are to run, whatever the device has. */
export function plainKernelsOnly(): boolean {
  return modes.plainKernels;
}

/**
 * A fact about the device, and what its adapter is taken for, found out once for each: asking WebGPU before every
 * dispatch would take as long as one.
 */
export function deviceFact<T>(find: () => T): () => T {
  const known = new WeakMap<GPUDevice, Map<StatedAdapter | null, T>>();
  return () => {
    const { device } = tfjsBackend();
    let facts = known.get(device);
    if (!facts) known.set(device, facts = new Map());
    const { statedAdapter } = modes;
    if (!facts.has(statedAdapter)) facts.set(statedAdapter, find());
    return facts.get(statedAdapter)!;
  };
}

/** Whether the device is a CPU that plays a GPU. */
export function isSoftwareDevice(): boolean {
  return isSoftware(adapterInfo());
}

/** What the device binds, holds and dispatches at most. */
export function deviceLimits(): GPUSupportedLimits {
  return tfjsBackend().device.limits;
}

/** Bytes of a buffer that a kernel sees at the most. */
export function bindingLimit(): number {
  return Math.min(deviceLimits().maxStorageBufferBindingSize, modes.bindingLimit);
}

/** Lanes of the device's widest subgroups; undefined counts as wide. */
export function maxSubgroupSize(): number {
  return adapterInfo().subgroupMaxSize;
}

/** Whether a subgroup is as wide as a CPU's vector register or narrower: one of 8 lanes then suits a workgroup best. */
export function hasNarrowSubgroups(): boolean {
  return maxSubgroupSize() <= 8;
}

/** Whether kernels that keep in workgroup memory what their lanes share suit this device: a GPU. */
export function suitsTiles(): boolean {
  return !modes.plainKernels && !isSoftwareDevice() && !hasNarrowSubgroups();
}

/** Whether loops are to be kept short in the compiled text: a CPU's compiler takes seconds for what it unrolls. */
export const compilesSlowly = deviceFact(() => isSoftware(tfjsBackend().device.adapterInfo));
