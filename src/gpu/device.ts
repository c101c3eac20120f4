/**
 * The GPU device of this process and the tfjs backend that runs on it.
 *
 * We open the device ourselves (stock tfjs asks for few limits and no optional features) and register tfjs's
 * WebGPU backend on it again, so stock tfjs ops and our kernels share one queue and one memory pool.
 * This file, and for an HTTP client scorer/loopback.ts, are all that know whether they run in Node or in Deno.
 */
import * as tf from "@tensorflow/tfjs";
import { createRequire } from "node:module";
import { setTimeout } from "node:timers/promises";
import { closeAtEnd } from "./at_end.ts";
import { forgetGpuFailure, type GpuError, gpuErrorOf, reportGpuFailure } from "./failure.ts";
import { countBuffers, type MemoryCount } from "./memory.ts";

export type Runtime = "node" | "deno";

export interface GpuInfo {
  runtime: Runtime;
  runtimeVersion: string;
  vendor: string;
  architecture: string;
  name: string;
  driver: string;
  features: string[];
  /** Limits of the opened device that decide what fits; bytes where the name says size. */
  limits: {
    maxBufferSize: number;
    maxStorageBufferBindingSize: number;
    maxComputeWorkgroupsPerDimension: number;
    maxComputeInvocationsPerWorkgroup: number;
    maxComputeWorkgroupStorageSize: number;
  };
  subgroupMatrixConfigs: string[];
  isSoftware: boolean;
}

export interface Gpu {
  device: GPUDevice;
  info: GpuInfo;
  /** Memory of all buffers made on the device, at this moment and at the most. */
  memory: MemoryCount;
}

interface AdapterDetails extends GPUAdapterInfo {
  subgroupMatrixConfigs?: Iterable<
    { componentType: string; resultComponentType: string; M: number; N: number; K: number }
  >;
}

const WANTED_FEATURES = [
  "timestamp-query",
  "shader-f16",
  "subgroups",
  "chromium-experimental-subgroup-matrix",
];
const TOGGLES_ON = ["allow_unsafe_apis", "vulkan_enable_f16_on_nvidia"];
// Times of kernels are of use in nanoseconds, not in the 0.1 ms that a browser owes its visitors.
const TOGGLES_OFF = ["timestamp_quantization"];

/**
 * Dawn's toggles, as its arguments. Tests add some by GRPO_WEBGPU_DAWN_TOGGLES, in Node only: names with commas
 * between them, a minus before one that is to be off. Dawn passes over a name that it does not know.
 */
function dawnToggles(): string[] {
  const further = (process.env.GRPO_WEBGPU_DAWN_TOGGLES ?? "").split(",").filter((name) => name !== "");
  const [off, on] = [true, false].map((isOff) => further.filter((name) => name.startsWith("-") === isOff));
  return [
    `enable-dawn-features=${[...TOGGLES_ON, ...on].join(",")}`,
    `disable-dawn-features=${[...TOGGLES_OFF, ...off.map((name) => name.slice(1))].join(",")}`,
  ];
}

let opened: Promise<Gpu> | null = null;
/** Of the device that is open. */
let lost: Promise<unknown> = Promise.resolve();
/** The device that was closed last: its loss is no failure. */
let closed: GPUDevice | null = null;

export function detectRuntime(): Runtime {
  return "Deno" in globalThis ? "deno" : "node";
}

/** Version of the runtime itself; Deno also claims to be some Node. */
export function runtimeVersion(): string {
  return detectRuntime() === "deno"
    ? (globalThis as { Deno?: { version: { deno: string } } }).Deno!.version.deno
    : process.versions.node;
}

/** Dawn's backend that checks calls and computes nothing. */
const NULL_BACKEND = ["backend=null"];

/** Installs the WebGPU globals of the runtime and returns its entry point. @param flags of Dawn, further ones */
async function webgpuEntry(flags: readonly string[]): Promise<GPU> {
  if (detectRuntime() === "deno") {
    const entry = globalThis.navigator?.gpu;
    if (!entry) {
      throw new Error(
        "WebGPU is off in this Deno: need the unstable feature; start it with --unstable-webgpu",
      );
    }
    return entry;
  }
  const dawn = await import("webgpu");
  Object.assign(globalThis, dawn.globals);
  const entry = dawn.create([...dawnToggles(), ...flags]) as unknown as GPU;
  // tfjs looks for navigator.gpu; Node >= 21 has a read-only navigator, Node 20 has none.
  const navigatorWithGpu = Object.assign(Object.create(globalThis.navigator ?? null), { gpu: entry });
  Object.defineProperty(globalThis, "navigator", {
    value: navigatorWithGpu,
    configurable: true,
    writable: true,
  });
  return entry;
}

/**
 * Opens the adapter without a device: what `doctor` needs to describe a machine.
 * @throws Error when the machine has no Vulkan/Metal/D3D12 adapter.
 */
export async function openAdapter(flags: readonly string[] = []): Promise<GPUAdapter> {
  const entry = await webgpuEntry(flags);
  const adapter = await entry.requestAdapter({ powerPreference: "high-performance" });
  if (adapter) return adapter;
  throw new Error(
    "Cannot open a GPU: WebGPU found no adapter on this machine. Need a Vulkan 1.1+ driver (a GPU's own, or Mesa >= " +
      '23.2 for software). Install one with "apt-get install mesa-vulkan-drivers", or run the command ' +
      '"doctor", which says what is missing',
  );
}

/** Whether an adapter is a CPU that plays a GPU. */
export function isSoftware(
  { description, device, architecture }: Pick<GPUAdapterInfo, "description" | "device" | "architecture">,
): boolean {
  return /llvmpipe|swiftshader|software|lavapipe/i.test(`${description} ${device} ${architecture}`);
}

function describe(adapter: GPUAdapter, device: GPUDevice): GpuInfo {
  const details = adapter.info as AdapterDetails;
  const limits = device.limits;
  return {
    runtime: detectRuntime(),
    runtimeVersion: runtimeVersion(),
    vendor: details.vendor,
    architecture: details.architecture,
    // Deno gives the PCI id for the device's name.
    name: (/^\d*$/.test(details.device) ? details.description : details.device) || "unknown",
    driver: details.description,
    features: [...device.features].map((feature) => String(feature)).sort(),
    limits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      maxComputeWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
      maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
      maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    },
    subgroupMatrixConfigs: [...(details.subgroupMatrixConfigs ?? [])].map((c) =>
      `${c.componentType}->${c.resultComponentType} ${c.M}x${c.N}x${c.K}`
    ),
    isSoftware: isSoftware(details),
  };
}

function watch(device: GPUDevice): void {
  forgetGpuFailure();
  device.addEventListener("uncapturederror", (event) => {
    const { error } = event as GPUUncapturedErrorEvent;
    const isMemory = error.constructor.name === "GPUOutOfMemoryError";
    reportGpuFailure(error.message, isMemory ? "out of memory" : "rejected");
  });
  lost = device.lost.then(({ reason, message }) => {
    if (device === closed) return;
    reportGpuFailure([reason, message].filter((said) => said !== "").join(": "), "lost");
  });
}

async function registerBackend(device: GPUDevice, adapter: GPUAdapter): Promise<void> {
  // The backend touches WebGPU globals when it is imported, so it may only be imported now.
  const { WebGPUBackend } = createRequire(import.meta.url)("@tensorflow/tfjs-backend-webgpu");
  tf.env().set("WEBGPU_CPU_FORWARD", false); // small tensors would silently run on the CPU
  if (tf.findBackendFactory("webgpu")) tf.removeBackend("webgpu"); // not there once a device was closed
  tf.registerBackend("webgpu", () => new WebGPUBackend(device, adapter.info), 3);
  await tf.setBackend("webgpu");
}

async function open(flags: readonly string[] = []): Promise<Gpu> {
  const adapter = await openAdapter(flags);
  const requiredFeatures = WANTED_FEATURES.filter((name) =>
    adapter.features.has(name as GPUFeatureName)
  ) as GPUFeatureName[];
  const requiredLimits: Record<string, number> = {};
  for (const name in adapter.limits) {
    const limit = adapter.limits[name as keyof GPUSupportedLimits];
    // No kernel uses dynamic offsets, and Dawn warns about the number of them it can offer.
    if (typeof limit === "number" && !name.startsWith("maxDynamic")) requiredLimits[name] = limit;
  }
  const device = await adapter.requestDevice({ requiredFeatures, requiredLimits });
  // Dawn's Node binding tells of the matrix units in the adapter's info alone.
  Object.defineProperty(device, "adapterInfo", { value: adapter.info, configurable: true });
  const memory = countBuffers(device);
  watch(device);
  await registerBackend(device, adapter);
  closeAtEnd(closeGpu);
  return { device, info: describe(adapter, device), memory };
}

/**
 * Opens the device once per process and makes tfjs run on it.
 * @throws Error when there is no adapter; the message says what to install.
 */
export function openGpu(): Promise<Gpu> {
  opened ??= open().catch((error) => {
    opened = null; // nothing to close
    throw error;
  });
  return opened;
}

/**
 * The open device, or where this machine has none, one that computes nothing: enough to rehearse on.
 * @throws Error when there is no adapter in Deno, which has no such device
 */
export async function openCountingGpu(): Promise<Gpu> {
  try {
    return await openGpu();
  } catch (error) {
    if (detectRuntime() === "deno") throw error;
    return await (opened = open(NULL_BACKEND));
  }
}

/** Destroys the device; the process can then end (Dawn keeps it alive otherwise). */
export async function closeGpu(): Promise<void> {
  if (!opened) return;
  const { device } = await opened;
  closed = device;
  tf.removeBackend("webgpu");
  device.destroy();
  opened = null;
}

const waits = { open: 0, since: 0, seconds: 0 };

/** Seconds that this process has spent waiting for the GPU, in awaitGpu. The rest of a wall clock is JavaScript's. */
export function waitedSeconds(): number {
  return waits.seconds;
}

/** What a rejected call may still hear of its cause: the device tells of its loss by another way. */
const CAUSE_WAIT_MS = 200;

async function gpuFailureOf(error: unknown): Promise<GpuError> {
  await Promise.race([lost, setTimeout(CAUSE_WAIT_MS)]);
  return gpuErrorOf(error);
}

/**
 * The error, or the GPU's failure where that is behind it: some calls on a device that is lost throw at once, in words
 * of their own.
 */
export async function explainGpuError(error: unknown): Promise<unknown> {
  return error instanceof DOMException && error.name === "OperationError" ? await gpuFailureOf(error) : error;
}

/** Counts the time until `work` is done; of waits side by side, the time until the last. */
async function counted<T>(work: Promise<T>): Promise<T> {
  if (waits.open++ === 0) waits.since = performance.now();
  try {
    return await work;
  } catch (error) {
    throw await gpuFailureOf(error);
  } finally {
    if (--waits.open === 0) waits.seconds += (performance.now() - waits.since) / 1000;
  }
}

const NAP_MS = 0.2;
const napping = new Int32Array(new SharedArrayBuffer(4));

/**
 * Waits for work of the GPU without taking a core from it.
 * @throws GpuError when it fails
 *
 * Dawn's Node binding looks for finished work in a loop of setImmediate, which keeps one core busy for as long as
 * anything is awaited: on a software GPU, half of a two-core machine. Short sleeps between the looks give it back.
 */
export async function awaitGpu<T>(work: Promise<T>): Promise<T> {
  if (detectRuntime() === "deno") return await counted(work);
  let waiting = true;
  const nap = () => {
    if (!waiting) return;
    Atomics.wait(napping, 0, 0, NAP_MS);
    setImmediate(nap);
  };
  setImmediate(nap);
  try {
    return await counted(work);
  } finally {
    waiting = false;
  }
}
