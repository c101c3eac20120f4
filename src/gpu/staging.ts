/** Parts of tensors in memory that a C library reads and writes in place: mapped buffers, copied in queue order. */
import type { TensorInfo } from "@tensorflow/tfjs";
import { tfjsBackend } from "./backend.ts";
import { awaitGpu } from "./device.ts";
import { assertGpuHealthy } from "./failure.ts";
import { flush } from "./queue.ts";
import { gpuBuffer } from "./tensors.ts";

/** 32-bit values `start` up to, not including, `end` of a tensor in memory order. */
export interface WordRange {
  start: number;
  end: number;
}

export interface Staged {
  /** The ranges' values, one behind the other. */
  bytes: Uint8Array;
  /** Gives the memory back; what was staged to be written is then in the tensor, in queue order. */
  done(): void;
}

const [READ_USAGE, WRITE_USAGE] = [0x01 | 0x08, 0x02 | 0x04]; // MAP_READ | COPY_DST, MAP_WRITE | COPY_SRC

/** Calls `copy` for each range that is not empty, in bytes. @returns bytes of all */
function forRanges(
  ranges: readonly WordRange[],
  copy: (atBytes: number, stagedBytes: number, sizeBytes: number) => void,
): number {
  let staged = 0;
  for (const { start, end } of ranges) {
    const sizeBytes = 4 * (end - start);
    if (sizeBytes > 0) copy(4 * start, staged, sizeBytes);
    staged += sizeBytes;
  }
  return staged;
}

const NOTHING: Staged = { bytes: new Uint8Array(0), done() {} };

/**
 * Begins to read values as they are after what was queued before.
 * @throws Error when the device has failed since it was opened
 */
export function stageRead(tensor: TensorInfo, ranges: readonly WordRange[]): Promise<Staged> {
  const sizeBytes = forRanges(ranges, () => {});
  if (sizeBytes === 0) return Promise.resolve(NOTHING);
  const backend = tfjsBackend();
  const staging = backend.bufferManager.acquireBuffer(sizeBytes, READ_USAGE);
  const source = gpuBuffer(backend, tensor, false);
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  forRanges(
    ranges,
    (at, staged, size) => backend.commandEncoder!.copyBufferToBuffer(source, at, staging, staged, size),
  );
  flush();
  const mapped = staging.mapAsync(GPUMapMode.READ);
  return awaitGpu(mapped).then(() => {
    assertGpuHealthy();
    return {
      bytes: new Uint8Array(staging.getMappedRange(), 0, sizeBytes),
      done() {
        staging.unmap();
        backend.bufferManager.releaseBuffer(staging);
      },
    };
  });
}

/**
 * Memory whose values `done` copies into the tensor's ranges. It holds anything at first: all of it is to be written.
 * @throws Error when the device has failed since it was opened
 */
export async function stageWrite(tensor: TensorInfo, ranges: readonly WordRange[]): Promise<Staged> {
  const sizeBytes = forRanges(ranges, () => {});
  if (sizeBytes === 0) return NOTHING;
  const backend = tfjsBackend();
  const staging = backend.bufferManager.acquireBuffer(sizeBytes, WRITE_USAGE);
  // A buffer that was used before is free to map once the GPU has copied from it.
  await awaitGpu(staging.mapAsync(GPUMapMode.WRITE));
  assertGpuHealthy();
  return {
    bytes: new Uint8Array(staging.getMappedRange(), 0, sizeBytes),
    done() {
      staging.unmap();
      const target = gpuBuffer(backend, tensor, true);
      backend.ensureCommandEncoderReady();
      backend.endComputePassEncoder();
      forRanges(
        ranges,
        (at, staged, size) => backend.commandEncoder!.copyBufferToBuffer(staging, staged, target, at, size),
      );
      flush();
      backend.bufferManager.releaseBuffer(staging);
    },
  };
}
