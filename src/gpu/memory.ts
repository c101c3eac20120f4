/** How much memory the buffers of a device take: now, and at the most. */

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

/** Counts every buffer that `device` makes from now on. @returns the count so far */
export function countBuffers(device: GPUDevice): MemoryCount {
  const memory: GpuMemory = { liveBytes: 0, peakBytes: 0 };
  const createBuffer = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer(descriptor);
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
