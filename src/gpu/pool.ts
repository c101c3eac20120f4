/** The buffers that tfjs's pool keeps for reuse. */
import { tfjsBackend } from "./backend.ts";
import { flush } from "./queue.ts";

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
