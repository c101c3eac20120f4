/**
 * Runs the program on a device that only counts: buffers have a size and no memory, kernels are checked against the
 * device's limits and not run, whatever is read back is zero. So a memory plan is the program itself, not a formula
 * beside it.
 */
import * as tf from "@tensorflow/tfjs";
import { type Backend, type BufferPool, modes, tfjsBackend } from "./backend.ts";
import { flush } from "./queue.ts";
import { countBuffers, type GpuMemory } from "./memory.ts";

/** The rest of the WebGPU interface: every property and every call gives the same nothing. */
const nothing: unknown = new Proxy(function () {}, {
  // A promise resolves to it; nothing awaits it for ever.
  get: (_, property) => property === "then" ? undefined : nothing,
  set: () => true,
  apply: () => nothing,
});

function countedBuffer({ size, usage, mappedAtCreation = false }: GPUBufferDescriptor): GPUBuffer {
  const values = {
    size,
    usage,
    mapState: mappedAtCreation ? "mapped" : "unmapped",
    destroy() {},
    unmap() {
      this.mapState = "unmapped";
    },
    mapAsync: () => Promise.resolve(),
    getMappedRange: (offset = 0, length = size - offset) => new ArrayBuffer(length),
  };
  // tfjs asks whether it is a GPUBuffer before it frees it; own properties hide those of the prototype.
  const buffer = Object.create(GPUBuffer.prototype);
  for (const [name, value] of Object.entries(values)) {
    Object.defineProperty(buffer, name, { value, writable: true, configurable: true });
  }
  return buffer;
}

/** Limits of another device, in place of this one's. */
export type OtherLimits = Partial<Record<keyof GPUSupportedLimits, number>>;

/** What is told of another device: limits, and what decides which kernels it runs. */
export type OtherDevice = OtherLimits & {
  adapterInfo?: Readonly<Record<string, unknown>>;
  features?: readonly string[];
};

/** A device like `real` but for what is given. */
function countingDevice(real: GPUDevice, { adapterInfo, features, ...other }: OtherDevice): GPUDevice {
  const limits = new Proxy(real.limits, {
    get: (target, name) =>
      name in other ? other[name as keyof OtherLimits] : Reflect.get(target, name, target),
  });
  const queue = {
    ...nothing as object,
    submit() {},
    writeBuffer() {},
    onSubmittedWorkDone: () => Promise.resolve(),
  };
  const own: Record<string | symbol, unknown> = {
    limits,
    features: features ? new Set(features) : real.features,
    adapterInfo: adapterInfo ?? real.adapterInfo,
    queue: new Proxy(queue, { get: (target, name) => Reflect.get(target, name) ?? nothing }),
    createBuffer: countedBuffer,
    pushErrorScope() {},
    popErrorScope: () => Promise.resolve(null),
  };
  return new Proxy(own, {
    get: (target, name) => name === "then" ? undefined : Reflect.get(target, name) ?? nothing,
  }) as unknown as GPUDevice;
}

/** What tfjs's backend keeps of a device. */
interface DeviceState extends Backend {
  pipelineCache: Record<string, unknown>;
}

/**
 * Runs `body` on a counting device, with tfjs's own memory pool, and puts the real one back. Tensors made inside
 * are gone afterwards, and none from outside may be used.
 * @param body gets a function that tells the counted memory so far
 * @param other to rehearse for another device
 */
export async function rehearse<R>(
  body: (memory: () => Readonly<GpuMemory>) => Promise<R>,
  other: OtherDevice = {},
): Promise<R> {
  const backend = tfjsBackend() as DeviceState;
  flush();
  const { device, queue, bufferManager, pipelineCache } = backend;
  const PoolClass = bufferManager.constructor as new (device: GPUDevice) => BufferPool;
  const counting = countingDevice(device, other);
  const memory = countBuffers(counting);
  backend.device = counting;
  backend.queue = counting.queue;
  backend.bufferManager = new PoolClass(counting);
  backend.pipelineCache = {};
  modes.rehearsing = true;
  tf.engine().startScope();
  try {
    return await body(memory);
  } finally {
    tf.engine().endScope();
    flush();
    modes.rehearsing = false;
    Object.assign(backend, { device, queue, bufferManager, pipelineCache });
  }
}
