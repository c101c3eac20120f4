/** What is free where something is to be written. */
import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";

/**
 * Bytes that may still be written on the disk of a path, which need not be there itself.
 * @returns null where the file system does not say
 */
export async function freeBytes(path: string): Promise<number | null> {
  for (let above = resolve(path);; above = dirname(above)) {
    const found = await statfs(above).catch(() => null);
    // Some, as those of a network, count nothing.
    if (found !== null) return found.blocks > 0 ? found.bavail * found.bsize : null;
    if (above === dirname(above)) return null;
  }
}
