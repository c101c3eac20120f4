/**
 * Runs our kernels on tfjs tensors: in tfjs's queue order, on tfjs's buffers, without copies.
 */
import * as tf from "@tensorflow/tfjs";
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { type Backend, type DispatchLabel, GUARD_BITS, modes, tfjsBackend } from "./backend.ts";
import { assertGpuHealthy, awaitGpu, isSoftware } from "./device.ts";
import { type KernelConstants, kernelPipeline } from "./kernel.ts";

/** A tensor as a kernel sees it; a window (in bytes) binds part of it. */
export interface Binding {
  tensor: TensorInfo;
  /** True when the kernel writes it: a CPU copy that tfjs may hold is then stale. */
  written?: boolean;
  offsetBytes?: number;
  sizeBytes?: number;
}

export interface KernelCall {
  /** File name in kernels/ without .wgsl. */
  kernel: string;
  constants?: KernelConstants;
  /** In @binding order of group 0; the uniform, when there is one, comes after them. */
  bindings: Binding[];
  /** Fields of the uniform struct, in order, each made with u32(), i32() or f32(). */
  params?: number[];
  workgroups: [number, number, number];
}

/** Dispatches gathered in one submit. Larger batches save submits but free memory later. */
const DISPATCHES_PER_SUBMIT = 24;
const UNIFORM_CACHE_ENTRIES = 4096;
const STORAGE_USAGE = 0x80 | 0x04 | 0x08; // STORAGE | COPY_SRC | COPY_DST
const UNIFORM_USAGE = 0x40 | 0x08; // UNIFORM | COPY_DST

const uniforms = new WeakMap<GPUDevice, Map<string, GPUBuffer>>();
const floatBits = new Float32Array(1);
const wordBits = new Uint32Array(floatBits.buffer);

export const u32 = (value: number): number => value >>> 0;
export const i32 = (value: number): number => value >>> 0;
export function f32(value: number): number {
  floatBits[0] = value;
  return wordBits[0];
}

/** Splits a 1-D grid over x and y so that no dimension passes WebGPU's 65535. Kernels refold with num_workgroups. */
export function foldGrid(count: number): [number, number, number] {
  const limit = modes.foldLimit;
  if (count <= limit) return [count, 1, 1];
  const y = Math.ceil(count / limit);
  return [Math.ceil(count / y), y, 1];
}

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

/** Lanes for a workgroup that reduces a row of `width`: about 8 values each, a power of two from 8 to 256. */
export function lanesForRow(width: number): number {
  return Math.min(256, Math.max(8, 2 ** Math.floor(Math.log2(Math.max(1, width / 8)))));
}

export function byteSize(tensor: TensorInfo): number {
  return tensor.shape.reduce((size, n) => size * n, 1) * 4;
}

/** A new tensor on the GPU whose contents are whatever its buffer held: the kernel must write all of it. */
export function newTensor(shape: number[], dtype: "float32" | "int32" = "float32"): TensorInfo {
  const backend = tfjsBackend();
  const info = backend.makeTensorInfo(shape, dtype);
  const sizeBytes = byteSize(info);
  if (sizeBytes === 0) {
    throw new RangeError(`Cannot make a GPU tensor of shape [${shape}]: need at least one element`);
  }
  const limit = backend.device.limits.maxBufferSize;
  if (sizeBytes > limit) {
    throw new RangeError(
      `Cannot make a tensor of shape [${shape}]: ${sizeBytes} bytes, this GPU allows ${limit} a buffer; use a smaller batch or length`,
    );
  }
  const buffer = backend.bufferManager.acquireBuffer(sizeBytes + modes.guardWords * 4, STORAGE_USAGE);
  if (modes.guardWords > 0) {
    backend.queue.writeBuffer(buffer, sizeBytes, new Uint32Array(modes.guardWords).fill(GUARD_BITS));
  }
  backend.tensorMap.get(info.dataId).resource = buffer;
  modes.begin?.(info);
  return info;
}

/** As newTensor, tracked by tfjs (tidy, dispose). Contents are undefined. */
export function emptyTensor(shape: number[], dtype: "float32" | "int32" = "float32"): Tensor {
  return tf.engine().makeTensorFromTensorInfo(newTensor(shape, dtype));
}

/** A tensor whose values are on the GPU when this returns, and nowhere else. */
export function uploadTensor(values: Float32Array | Int32Array, shape: number[]): Tensor {
  const tensor = tf.tensor(values, shape, values instanceof Int32Array ? "int32" : "float32");
  tfjsBackend().uploadToGPU(tensor.dataId);
  return tensor;
}

/** Zeros, made on the GPU. */
export function zeroTensor(shape: number[]): Tensor {
  const tensor = emptyTensor(shape);
  clearTensor(tensor);
  return tensor;
}

/** Sets a tensor to zero, in queue order. */
export function clearTensor(tensor: TensorInfo): void {
  if (modes.recording) throw new Error("Cannot record the clearing of a tensor in a plan: use a kernel");
  const backend = tfjsBackend();
  const buffer = gpuBuffer(backend, { tensor, written: true });
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  backend.commandEncoder!.clearBuffer(buffer);
  backend.commandQueueOwnedIds.add(tensor.dataId);
}

/** The same tensor once more, as an output of an op: no copy, and freed with the last of its holders. */
export function aliasOf({ dataId, shape, dtype }: TensorInfo): TensorInfo {
  tfjsBackend().incRef(dataId);
  return { dataId, shape, dtype };
}

/** Frees a tensor that only kernels saw (a scratch buffer inside an op). */
export function disposeInfo(info: TensorInfo): void {
  tfjsBackend().disposeData(info.dataId);
}

function gpuBuffer(backend: Backend, binding: Binding): GPUBuffer {
  const record = backend.tensorMap.get(binding.tensor.dataId);
  if (!record.resource) {
    if (modes.recording) {
      throw new Error(
        "Cannot record a plan on a tensor that is not on the GPU yet: upload it before recording",
      );
    }
    backend.uploadToGPU(binding.tensor.dataId);
  }
  if (binding.written) {
    record.values = null;
    modes.recording?.written.add(record);
  }
  return record.resource!;
}

function storageEntry(
  backend: Backend,
  call: KernelCall,
  binding: Binding,
  index: number,
): GPUBindGroupEntry {
  const buffer = gpuBuffer(backend, binding);
  const offset = binding.offsetBytes ?? 0;
  const size = binding.sizeBytes ?? (modes.guardWords > 0 ? buffer.size : byteSize(binding.tensor)) - offset;
  const limit = bindingLimit();
  if (size > limit) {
    throw new RangeError(
      `Cannot run ${call.kernel}: binding ${index} of shape [${binding.tensor.shape}] needs ${size} bytes, this GPU binds at most ` +
        `${limit}; use a smaller batch, length or chunk`,
    );
  }
  return { binding: index, resource: { buffer, offset, size } };
}

/** Uniforms are cached by content: the same shapes come back every step, and an immutable buffer needs no write. */
function uniformBuffer(backend: Backend, params: number[]): GPUBuffer {
  let cache = uniforms.get(backend.device);
  if (!cache) uniforms.set(backend.device, cache = new Map());
  const key = params.join();
  let buffer = cache.get(key);
  if (buffer) return buffer;
  if (cache.size >= UNIFORM_CACHE_ENTRIES) cache.delete(cache.keys().next().value!);
  const words = new Uint32Array(Math.ceil(params.length / 4) * 4);
  words.set(params);
  buffer = backend.device.createBuffer({ size: words.byteLength, usage: UNIFORM_USAGE });
  backend.queue.writeBuffer(buffer, 0, words);
  cache.set(key, buffer);
  return buffer;
}

function labelOf(kernel: string, entries: readonly GPUBindGroupEntry[]): DispatchLabel {
  const sizes = entries.map(({ resource }) => (resource as GPUBufferBinding).size ?? 0);
  return { kernel, boundBytes: sizes.reduce((sum, size) => sum + size, 0) };
}

/**
 * Queues one kernel (or, while a plan is being recorded, only records it).
 * @throws RangeError when a tensor is over the device's binding limit.
 * @throws Error when the device has failed.
 */
export function runKernel(call: KernelCall): void {
  assertGpuHealthy();
  const backend = tfjsBackend();
  const pipeline = kernelPipeline(backend.device, call.kernel, call.constants);
  const entries = call.bindings.map((binding, index) => storageEntry(backend, call, binding, index));
  if (call.params) {
    entries.push({ binding: entries.length, resource: { buffer: uniformBuffer(backend, call.params) } });
  }
  const bindGroup = backend.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  if (modes.recording) {
    modes.recording.dispatches.push({
      ...labelOf(call.kernel, entries),
      pipeline,
      bindGroup,
      workgroups: call.workgroups,
    });
    return;
  }
  for (const { tensor } of call.bindings) backend.commandQueueOwnedIds.add(tensor.dataId);
  backend.ensureCommandEncoderReady();
  if (modes.profiling) {
    backend.endComputePassEncoder();
    const label = labelOf(call.kernel, entries);
    backend.computePassEncoder = modes.profiling.beginPass(backend.commandEncoder!, label);
  }
  const pass = backend.computePassEncoder ??= backend.commandEncoder!.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, bindGroup);
  pass.dispatchWorkgroups(...call.workgroups);
  if (++backend.dispatchCountInPass >= DISPATCHES_PER_SUBMIT) flush();
}

/** Submits what is queued. */
export function flush(): void {
  const backend = tfjsBackend();
  backend.endComputePassEncoder();
  if (backend.commandEncoder) backend.submitQueue();
}

/** Resolves once the GPU has done all that was submitted. */
export async function settle(): Promise<void> {
  flush();
  await awaitGpu(tfjsBackend().queue.onSubmittedWorkDone());
}

/**
 * Reads a tensor back.
 * @throws Error when the device has failed since it was opened: the numbers would be zeros.
 */
export async function readTensor(tensor: Tensor): Promise<Float32Array | Int32Array> {
  const values = await awaitGpu(tensor.data());
  assertGpuHealthy();
  return values as Float32Array | Int32Array;
}

export async function readFloats(tensor: Tensor): Promise<Float32Array> {
  return await readTensor(tensor) as Float32Array;
}

/**
 * Overwrites (part of) a tensor that is on the GPU, in queue order.
 * @param offsetBytes multiple of 4
 */
export function writeTensor(tensor: TensorInfo, values: ArrayBufferView, offsetBytes = 0): void {
  const backend = tfjsBackend();
  flush();
  const buffer = gpuBuffer(backend, { tensor, written: true });
  backend.queue.writeBuffer(
    buffer,
    offsetBytes,
    values.buffer as ArrayBuffer,
    values.byteOffset,
    values.byteLength,
  );
}

/** What the pool may keep for reuse: some for a small model, a small share of what a large one takes. */
const SPARE_BYTES = 32 << 20;
const SPARE_SHARE = 0.05;

/** Destroys the pool's free buffers where they are many: work of another length needs buffers of other sizes. */
export function limitPool(): void {
  flush(); // what is disposed is free from then on
  const { numBytesAllocated, numBytesUsed } = tfjsBackend().bufferManager;
  const most = Math.max(SPARE_BYTES, SPARE_SHARE * numBytesAllocated);
  if (numBytesAllocated - numBytesUsed > most) trimPool();
}

/** Destroys the buffers that tfjs's pool keeps for reuse (it never trims them itself). */
export function trimPool(): void {
  flush();
  const pool = tfjsBackend().bufferManager;
  for (const [key, buffers] of pool.freeBuffers) {
    for (const buffer of buffers) {
      pool.numBytesAllocated -= buffer.size;
      pool.numFreeBuffers--;
      buffer.destroy();
    }
    pool.freeBuffers.set(key, []);
  }
}

/** Runs `body`, which may start a tape of its own, amid the backward pass of another: tfjs keeps only one. */
export function withOwnTape<R>(body: () => R): R {
  const { state } = tf.engine() as unknown as { state: { activeTape: unknown } };
  const outer = state.activeTape;
  try {
    return body();
  } finally {
    state.activeTape = outer;
  }
}

/** Copies a tensor's bytes into another of the same or a larger size, in queue order. */
export function copyTensor(source: TensorInfo, target: TensorInfo): void {
  if (modes.recording) throw new Error("Cannot record a copy in a plan: use a kernel");
  const backend = tfjsBackend();
  const from = gpuBuffer(backend, { tensor: source });
  const to = gpuBuffer(backend, { tensor: target, written: true });
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  backend.commandEncoder!.copyBufferToBuffer(from, 0, to, 0, byteSize(source));
  backend.commandQueueOwnedIds.add(source.dataId);
  backend.commandQueueOwnedIds.add(target.dataId);
}

/** A tensor with the values that another has now. */
export function copyOf(source: Tensor): Tensor {
  const copy = emptyTensor(source.shape, source.dtype as "float32" | "int32");
  copyTensor(source, copy);
  return copy;
}
