/** What ops ask of the device that is open: its limits, and which kernels suit it. */
import { modes, tfjsBackend } from "./backend.ts";
import { isSoftware } from "./device.ts";

/**
 * Whether this device runs the kernels written for subgroups of exactly 8 lanes: software Vulkan under Dawn. They
 * exist beside a plain kernel that gives the same bits.
 */
export function hasSimd8(): boolean {
  if (modes.plainKernels || modes.gpuLanes) return false;
  const { features, adapterInfo } = tfjsBackend().device;
  return features.has("subgroups") && adapterInfo.subgroupMinSize === 8 && adapterInfo.subgroupMaxSize === 8;
}

/** Whether only plain kernels are to run, whatever the device has. */
export function plainKernelsOnly(): boolean {
  return modes.plainKernels || modes.gpuLanes;
}

/** Whether kernels that keep in workgroup memory what their lanes share suit this device: a GPU. */
export function suitsTiles(): boolean {
  return !modes.plainKernels && !isSoftwareDevice() && !hasNarrowSubgroups();
}

/** A fact about the device, found out once for each: asking WebGPU before every dispatch would take as long as one. */
export function deviceFact<T>(find: () => T): () => T {
  const known = new WeakMap<GPUDevice, { fact: T }>();
  return () => {
    const { device } = tfjsBackend();
    let found = known.get(device);
    if (!found) known.set(device, found = { fact: find() });
    return found.fact;
  };
}

/** Whether loops are to be kept short in the compiled text: a CPU's compiler takes seconds for what it unrolls. */
export const compilesSlowly = deviceFact(() => isSoftware(tfjsBackend().device.adapterInfo));

/** Whether the device is a CPU that plays a GPU. */
export function isSoftwareDevice(): boolean {
  return !modes.gpuLanes && isSoftware(tfjsBackend().device.adapterInfo);
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
  return modes.gpuLanes ? 32 : tfjsBackend().device.adapterInfo.subgroupMaxSize;
}

/** Whether a subgroup is as wide as a CPU's vector register or narrower: one of 8 lanes then suits a workgroup best. */
export function hasNarrowSubgroups(): boolean {
  return maxSubgroupSize() <= 8;
}
