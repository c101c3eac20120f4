/**
 * Devices that a step's time is predicted for: what their makers publish, what was measured on them in public, and what
 * is assumed of them, each figure with where it comes from. None of it was measured by this program, which has run on
 * none of them but lavapipe.
 */
import type { OtherDevice } from "../../src/gpu/rehearsal.ts";

export interface Device {
  title: string;
  /** Processors that run workgroups: streaming multiprocessors, GPU cores, CPU cores. */
  cores: number;
  /** Of a processor while it works, 1e9 a second. */
  clockGHz: number;
  /** Lanes of a subgroup. */
  subgroup: number;
  /** Subgroups' instructions that a core issues in a cycle; an fma is one, so the f32 peak is twice that of lanes. */
  issue: number;
  /** f16 products summed in f32 that WebGPU's subgroup matrices can reach, operations a second; null: none. */
  matrixFlops: number | null;
  /** Read plus written by a copy, bytes a second. */
  copyBytes: number;
  /** From the shared cache to all cores, bytes a second; to one core, bytes a cycle. */
  cacheBytes: number;
  cacheBytesPerCore: number;
  /** Of the shared cache. */
  cacheSize: number;
  workgroupMemory: { perCore: number; perWorkgroup: number };
  lanesPerCore: number;
  workgroupsPerCore: number;
  registersPerCore: number;
  /** Cycles until a load is there: from memory, from the shared cache, from workgroup memory; of a barrier. */
  latency: { memory: number; cache: number; shared: number; barrier: number };
  /** Seconds between two dispatches that depend on each other. */
  launchSeconds: number;
  /** Seconds of JavaScript and of the WebGPU implementation, on a core of the machine that the device is in. */
  js: { dispatch: number; submit: number; record: number };
  memoryBytes: number;
  /** What the program sees of it. */
  seen: OtherDevice;
}

const MATRIX_CONFIGS = [{
  componentType: "f16",
  resultComponentType: "f32",
  M: 16,
  N: 16,
  K: 16,
}];

const FEATURES = ["shader-f16", "subgroups", "timestamp-query", "chromium-experimental-subgroup-matrix"];

/** What Dawn shows of a card of NVIDIA's through Vulkan. */
const NVIDIA_SEEN: OtherDevice = {
  features: FEATURES,
  adapterInfo: {
    vendor: "nvidia",
    architecture: "",
    device: "",
    description: "",
    subgroupMinSize: 32,
    subgroupMaxSize: 32,
    isFallbackAdapter: false,
    subgroupMatrixConfigs: MATRIX_CONFIGS,
  },
  maxStorageBufferBindingSize: 2 ** 32 - 4,
  maxBufferSize: 2 ** 40,
  maxComputeWorkgroupStorageSize: 48 * 1024,
  maxComputeInvocationsPerWorkgroup: 1024,
  maxComputeWorkgroupSizeX: 1024,
};

/** Node on a server's core. Assumed: about half of what 1125 dispatches took on two shared cores, 4.2 and 4.5 ms. */
const SERVER_JS = { dispatch: 4.4e-6, submit: 50e-6, record: 40e-6 };

const H100: Device = {
  title: "NVIDIA H100 SXM, 80 GB, Vulkan through Dawn",
  cores: 132, // datasheet
  clockGHz: 1.755, // what public benchmarks see under load; boost 1.98
  subgroup: 32, // PTX ISA
  issue: 4, // four schedulers of a warp each: 132 x 128 fma a cycle is 59.3 TFLOP/s, datasheet 67 at boost
  // Of 989 TFLOP/s (datasheet, wgmma): cooperative matrices compile to mma.sync, which public GEMMs bring to 60-65 %.
  matrixFlops: 640e12,
  copyBytes: 3.0e12, // datasheet 3.35, STREAM-like copies see 90 %
  cacheBytes: 5.5e12, // public microbenchmarks of L2 reads
  cacheBytesPerCore: 64, // the same, one SM alone
  cacheSize: 50e6, // datasheet
  workgroupMemory: { perCore: 228 * 1024, perWorkgroup: 48 * 1024 }, // CUDA guide; Vulkan's limit
  lanesPerCore: 2048, // CUDA guide
  workgroupsPerCore: 32, // CUDA guide
  registersPerCore: 65536, // CUDA guide
  latency: { memory: 700, cache: 270, shared: 30, barrier: 30 }, // public microbenchmarks, rounded
  launchSeconds: 2.5e-6, // assumed: a barrier between dispatches that depend on each other, drained and refilled
  js: SERVER_JS,
  memoryBytes: 81_559 * 2 ** 20, // nvidia-smi
  seen: NVIDIA_SEEN,
};

export const DEVICES: Readonly<Record<string, Device>> = {
  h100: H100,
  h200: {
    ...H100, // the same chip
    title: "NVIDIA H200 SXM, 141 GB, Vulkan through Dawn",
    copyBytes: 4.3e12, // datasheet 4.8, 90 % of it
    memoryBytes: 143_771 * 2 ** 20, // nvidia-smi
  },
  a100: {
    ...H100,
    title: "NVIDIA A100 SXM, 80 GB, Vulkan through Dawn",
    cores: 108, // datasheet
    clockGHz: 1.41, // datasheet, boost
    issue: 2, // 64 fma lanes an SM: 19.5 TFLOP/s in the datasheet
    matrixFlops: 265e12, // datasheet 312, mma.sync is native here: 85 %
    copyBytes: 1.75e12, // datasheet 2.04, copies see 86 %
    cacheBytes: 4.0e12, // public microbenchmarks
    cacheSize: 40e6, // datasheet
    workgroupMemory: { perCore: 164 * 1024, perWorkgroup: 48 * 1024 }, // CUDA guide
    latency: { memory: 600, cache: 240, shared: 30, barrier: 30 }, // public microbenchmarks, rounded
    memoryBytes: 81_920 * 2 ** 20, // nvidia-smi
  },
  rtx4090: {
    ...H100,
    title: "NVIDIA RTX 4090, 24 GB, Vulkan through Dawn",
    cores: 128, // datasheet
    clockGHz: 2.52, // datasheet, boost
    matrixFlops: 150e12, // datasheet 165 with f32 sums, 90 %
    copyBytes: 0.92e12, // datasheet 1.008, 91 %
    cacheBytes: 5.0e12, // public microbenchmarks
    cacheSize: 72e6, // datasheet
    workgroupMemory: { perCore: 100 * 1024, perWorkgroup: 48 * 1024 }, // CUDA guide
    lanesPerCore: 1536, // CUDA guide
    workgroupsPerCore: 24, // CUDA guide
    latency: { memory: 800, cache: 280, shared: 30, barrier: 30 }, // public microbenchmarks, rounded
    memoryBytes: 24_564 * 2 ** 20, // nvidia-smi
  },
  "m4-max": {
    title: "Apple M4 Max, 40 cores, 128 GB, Metal through Dawn",
    cores: 40, // datasheet
    clockGHz: 1.58, // public microbenchmarks
    subgroup: 32, // Metal's feature tables
    issue: 4, // 128 lanes a core: 16.2 TFLOP/s
    matrixFlops: 15e12, // simdgroup matrices run on the fma lanes: public GEMMs see 90 % of them
    copyBytes: 0.48e12, // datasheet 0.546, 88 %
    cacheBytes: 1.0e12, // assumed: twice memory
    cacheBytesPerCore: 64, // assumed
    cacheSize: 48e6, // public measurements of the system cache
    workgroupMemory: { perCore: 60 * 1024, perWorkgroup: 32 * 1024 }, // public reverse engineering; Metal's limit
    lanesPerCore: 1024, // assumed: 24 subgroups and more, by registers
    workgroupsPerCore: 24, // assumed
    registersPerCore: 53248, // public reverse engineering: 208 KiB
    latency: { memory: 600, cache: 250, shared: 30, barrier: 30 }, // assumed
    launchSeconds: 5e-6, // assumed
    js: { dispatch: 3e-6, submit: 40e-6, record: 30e-6 }, // assumed: a faster core than a server's
    memoryBytes: 96 * 2 ** 30, // what Metal recommends of 128
    seen: {
      features: FEATURES,
      adapterInfo: {
        ...NVIDIA_SEEN.adapterInfo,
        vendor: "apple",
        subgroupMatrixConfigs: [{ ...MATRIX_CONFIGS[0], M: 8, N: 8, K: 8 }],
      },
      maxStorageBufferBindingSize: 2 ** 32 - 4,
      maxBufferSize: 2 ** 36,
      maxComputeWorkgroupStorageSize: 32 * 1024,
      maxComputeInvocationsPerWorkgroup: 1024,
      maxComputeWorkgroupSizeX: 1024,
    },
  },
  lavapipe: {
    title: "lavapipe (software Vulkan), two cores",
    cores: 2, // of the machine that docs/measurements.md was made on
    clockGHz: 2.6, // assumed
    subgroup: 8, // Mesa on 256-bit registers
    issue: 1.18, // measured by bench: 98 GFLOP/s of fma on both cores
    matrixFlops: null, // Mesa before 26.2
    copyBytes: 11.6e9, // measured by bench
    cacheBytes: 30e9, // assumed
    cacheBytesPerCore: 8, // assumed: a lane loads a value at a time
    cacheSize: 32e6, // assumed
    workgroupMemory: { perCore: 32 * 1024, perWorkgroup: 32 * 1024 }, // Mesa's limit
    lanesPerCore: 8, // a core runs one workgroup of one subgroup at a time
    workgroupsPerCore: 1,
    registersPerCore: 2 ** 20, // assumed: what does not fit lies in the core's cache
    latency: { memory: 60, cache: 8, shared: 4, barrier: 50 }, // assumed: a CPU looks ahead
    launchSeconds: 45e-6, // assumed: half of what one lane takes in a pass of its own
    js: { dispatch: 8e-6, submit: 100e-6, record: 80e-6 }, // measured, about
    memoryBytes: 16 * 2 ** 30, // assumed
    seen: {
      features: ["shader-f16", "subgroups", "timestamp-query"],
      adapterInfo: {
        vendor: "mesa",
        architecture: "",
        device: "llvmpipe",
        description: "llvmpipe",
        subgroupMinSize: 8,
        subgroupMaxSize: 8,
        isFallbackAdapter: false,
      },
      maxStorageBufferBindingSize: 2 ** 30,
      maxBufferSize: 2 ** 32,
      maxComputeWorkgroupStorageSize: 32 * 1024,
      maxComputeInvocationsPerWorkgroup: 1024,
      maxComputeWorkgroupSizeX: 1024,
    },
  },
};

/** @throws RangeError when there is no such device */
export function namedDevice(name: string): Device {
  const found = Object.hasOwn(DEVICES, name) ? DEVICES[name] : undefined;
  if (found) return found;
  throw new RangeError(`Unknown device "${name}"; devices: ${Object.keys(DEVICES).join(", ")}`);
}
