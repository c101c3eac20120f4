/** Tensors on the GPU: made, filled, copied and read back, in tfjs's queue order and on tfjs's buffers. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import {
  type Backend,
  GUARD_BITS,
  modes,
  type PlannedBuffer,
  STORAGE_USAGE,
  tfjsBackend,
} from "./backend.ts";
import { noteBufferMove } from "./arena.ts";
import { awaitGpu } from "./device.ts";
import { assertGpuHealthy } from "./failure.ts";
import { flush } from "./queue.ts";

/** A tensor as a kernel sees it; a window (in bytes) binds part of it. */
export interface Binding {
  tensor: TensorInfo;
  offsetBytes?: number;
  sizeBytes?: number;
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
      `Cannot make a tensor of shape [${shape}]: ${sizeBytes} bytes, this GPU allows ${limit} a buffer; ` +
        "use a smaller batch or length",
    );
  }
  const buffer = backend.bufferManager.acquireBuffer(sizeBytes + modes.guardWords * 4, STORAGE_USAGE);
  if (modes.guardWords > 0) {
    backend.queue.writeBuffer(buffer, sizeBytes, new Uint32Array(modes.guardWords).fill(GUARD_BITS));
  }
  const record = backend.tensorMap.get(info.dataId);
  record.resource = buffer;
  modes.recording?.made.set(buffer as PlannedBuffer, record);
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
  const buffer = gpuBuffer(backend, tensor, true);
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

/**
 * The buffer of a tensor, on the GPU.
 * @param isWritten a CPU copy that tfjs may hold is then stale
 */
export function gpuBuffer(backend: Backend, { dataId }: TensorInfo, isWritten: boolean): GPUBuffer {
  const record = backend.tensorMap.get(dataId);
  if (!record.resource) {
    if (modes.recording) {
      throw new Error(
        "Cannot record a plan on a tensor that is not on the GPU yet: upload it before recording",
      );
    }
    backend.uploadToGPU(dataId);
  }
  if (isWritten) {
    record.values = null;
    modes.recording?.written.add(record);
  }
  return record.resource!;
}

/**
 * Reads a tensor back.
 * @throws Error when the device has failed since it was opened: the numbers would be zeros.
 */
export async function readTensor(tensor: Tensor): Promise<Float32Array | Int32Array> {
  const { external } = tfjsBackend().tensorMap.get(tensor.dataId);
  const values = await awaitGpu(tensor.data()) as Float32Array | Int32Array;
  assertGpuHealthy();
  // The buffer that a plan's tensor has may be larger than it.
  return external ? values.subarray(0, tensor.size) : values;
}

/** Values that are on their way from the GPU. */
export interface PendingRead {
  /** @throws Error when the device has failed since it was opened: the numbers would be zeros */
  values(): Promise<Float32Array | Int32Array>;
}

const READBACK_USAGE = 0x01 | 0x08; // MAP_READ | COPY_DST

/** Begins to read a tensor as it is after what was queued before; what is queued later does not wait for that. */
export function beginRead(tensor: TensorInfo): PendingRead {
  const backend = tfjsBackend();
  const pool = backend.bufferManager;
  const sizeBytes = byteSize(tensor);
  const staging = pool.acquireBuffer(sizeBytes, READBACK_USAGE);
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  backend.commandEncoder!.copyBufferToBuffer(gpuBuffer(backend, tensor, false), 0, staging, 0, sizeBytes);
  flush();
  const mapped = staging.mapAsync(GPUMapMode.READ);
  mapped.catch(() => {}); // told to whoever asks for the values
  return {
    async values() {
      await awaitGpu(mapped);
      assertGpuHealthy();
      const bytes = staging.getMappedRange().slice(0);
      staging.unmap();
      pool.releaseBuffer(staging);
      return tensor.dtype === "int32" ? new Int32Array(bytes) : new Float32Array(bytes);
    },
  };
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
  const buffer = gpuBuffer(backend, tensor, true);
  backend.queue.writeBuffer(
    buffer,
    offsetBytes,
    values.buffer as ArrayBuffer,
    values.byteOffset,
    values.byteLength,
  );
}

/**
 * The tensor with another number of rows, what it held in front: the same tensor to whoever recorded a plan over it.
 * @param tensor is given up
 * @param rows 0: its memory is given back, and what it held is lost
 */
export function resizeTensor(tensor: Tensor, rows: number): Tensor {
  const backend = tfjsBackend();
  const record = backend.tensorMap.get(tensor.dataId);
  const shape = [rows, ...tensor.shape.slice(1)];
  const old = record.resource;
  const larger = rows > 0 ? newTensor(shape, tensor.dtype as "float32" | "int32") : null;
  if (old && larger) {
    backend.ensureCommandEncoderReady();
    backend.endComputePassEncoder();
    const { resource } = backend.tensorMap.get(larger.dataId);
    backend.commandEncoder!.copyBufferToBuffer(old, 0, resource!, 0, Math.min(old.size, resource!.size));
  }
  flush();
  if (larger) {
    const made = backend.tensorMap.get(larger.dataId);
    [record.resource, made.resource] = [made.resource, null];
    disposeInfo(larger);
  } else record.resource = null;
  if (old) backend.bufferManager.releaseBuffer(old);
  record.shape = shape;
  record.values = null;
  noteBufferMove();
  const resized = tf.engine().makeTensorFromTensorInfo(aliasOf({ ...tensor, shape }));
  tensor.dispose();
  return resized;
}

/** Words (of 4 bytes: f32, i32, or a pair of 16 bits) of a tensor, from `first` on. */
export interface Words {
  tensor: Tensor;
  first: number;
  count: number;
}

/** Copies words of a tensor into another, from its word `at` on, in queue order. */
export function copyWords(
  { tensor: source, first, count }: Omit<Words, "tensor"> & { tensor: TensorInfo },
  target: TensorInfo,
  at: number,
): void {
  if (modes.recording) throw new Error("Cannot record a copy in a plan: use a kernel");
  const backend = tfjsBackend();
  const from = gpuBuffer(backend, source, false);
  const to = gpuBuffer(backend, target, true);
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  backend.commandEncoder!.copyBufferToBuffer(from, 4 * first, to, 4 * at, 4 * count);
  backend.commandQueueOwnedIds.add(source.dataId);
  backend.commandQueueOwnedIds.add(target.dataId);
}

/** Copies a tensor's bytes into another of the same or a larger size, in queue order. */
export function copyTensor(source: TensorInfo, target: TensorInfo): void {
  copyWords({ tensor: source, first: 0, count: byteSize(source) / 4 }, target, 0);
}

/** A tensor with the values that another has now. */
export function copyOf(source: Tensor): Tensor {
  const copy = emptyTensor(source.shape, source.dtype as "float32" | "int32");
  copyTensor(source, copy);
  return copy;
}
