/** How much memory the buffers of a device take: now, and at the most. */
import { gpuErrorOf, noteMemory } from "./failure.ts";

export interface GpuMemory {
  /** Bytes of the buffers that have been made and not destroyed; tfjs's pool of free ones counts. */
  liveBytes: number;
  /** Largest `liveBytes` there has been. */
  peakBytes: number;
}

export interface MemoryCount {
  (): Readonly<GpuMemory>;
  /** From here on the peak is that of what comes, beside what is held now. */
  forgetPeak(): void;
}

/** A buffer that is mapped when it is made is refused at once, by a RangeError, where there is no memory for it. */
function made(make: () => GPUBuffer): GPUBuffer {
  try {
    return make();
  } catch (error) {
    throw error instanceof RangeError ? gpuErrorOf(error, "out of memory") : error;
  }
}

/** Counts every buffer that `device` makes from now on. @returns the count so far */
export function countBuffers(device: GPUDevice): MemoryCount {
  const memory: GpuMemory = { liveBytes: 0, peakBytes: 0 };
  const createBuffer = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const held = memory.liveBytes;
    noteMemory(() => `${descriptor.size} bytes, beside ${held} that are held`);
    const buffer = made(() => createBuffer(descriptor));
    const destroy = buffer.destroy.bind(buffer);
    let isAlive = true;
    buffer.destroy = () => {
      if (isAlive) memory.liveBytes -= descriptor.size;
      isAlive = false;
      return destroy();
    };
    memory.liveBytes += descriptor.size;
    memory.peakBytes = Math.max(memory.peakBytes, memory.liveBytes);
    return buffer;
  };
  return Object.assign(() => ({ ...memory }), {
    forgetPeak: () => void (memory.peakBytes = memory.liveBytes),
  });
}
