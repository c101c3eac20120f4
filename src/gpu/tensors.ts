/** Tensors on the GPU: made, filled, copied and read back, in tfjs's queue order and on tfjs's buffers. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { type Backend, GUARD_BITS, modes, tfjsBackend } from "./backend.ts";
import { assertGpuHealthy, awaitGpu } from "./device.ts";
import { flush } from "./queue.ts";

/** A tensor as a kernel sees it; a window (in bytes) binds part of it. */
export interface Binding {
  tensor: TensorInfo;
  offsetBytes?: number;
  sizeBytes?: number;
}

const STORAGE_USAGE = 0x80 | 0x04 | 0x08; // STORAGE | COPY_SRC | COPY_DST

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
  const buffer = gpuBuffer(backend, tensor, true);
  backend.queue.writeBuffer(
    buffer,
    offsetBytes,
    values.buffer as ArrayBuffer,
    values.byteOffset,
    values.byteLength,
  );
}

/** Copies a tensor's bytes into another of the same or a larger size, in queue order. */
export function copyTensor(source: TensorInfo, target: TensorInfo): void {
  if (modes.recording) throw new Error("Cannot record a copy in a plan: use a kernel");
  const backend = tfjsBackend();
  const from = gpuBuffer(backend, source, false);
  const to = gpuBuffer(backend, target, true);
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
