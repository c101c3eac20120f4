// Files as they are opened to be read. What lies at a path may be anything: a pipe that nobody writes into would be
// waited for without end, /dev/zero never ends, a pointer of Git LFS is not the file. So every reader comes by here.

import { constants, type Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { explainFsError } from "./errors.ts";
import { refuseLfsPointer } from "./lfs_pointer.ts";

/** Texts and vocabularies take some megabytes; a file of weights, named by mistake, is not read. */
const MAX_BYTES = 2 ** 28;

/** What is neither file nor folder, in words. */
function kindOf(found: Stats): string {
  if (found.isFIFO()) return "a pipe";
  return found.isSocket() ? "a socket" : "a device";
}

/**
 * Asks what lies at a path before it is opened: opening may already wait.
 * @param action as of explainFsError
 * @throws Error when it is no file, links followed
 */
export async function assertFile(path: string, action: string): Promise<void> {
  const found = await stat(path).catch((error) => {
    throw explainFsError(error, action, path);
  });
  refuseOther(found, path, action);
}

function refuseOther(found: Stats, path: string, action: string): void {
  if (found.isFile()) return;
  if (found.isDirectory()) {
    throw explainFsError(Object.assign(new Error("folder"), { code: "EISDIR" }), action, path);
  }
  throw new Error(
    `Cannot ${action} '${path}': required a file, got ${
      kindOf(found)
    }; write what it gives into a file, and name that`,
  );
}

/**
 * Opens a file to read it.
 * @throws Error when it cannot be opened, or is none
 */
export async function openFile(path: string, action: string): Promise<{ handle: FileHandle; size: number }> {
  await assertFile(path, action);
  // Between the two something else may have come there: that is not waited for either.
  const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch((error) => {
    throw explainFsError(error, action, path);
  });
  try {
    const found = await handle.stat();
    refuseOther(found, path, action);
    return { handle, size: found.size };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * All bytes of a file.
 * @param action what is tried, as of explainFsError
 * @throws Error when it cannot be read, is no file, is a Git LFS pointer, or is longer than `maxBytes`
 */
export async function readBytes(path: string, action: string, maxBytes = MAX_BYTES): Promise<Uint8Array> {
  const { handle, size } = await openFile(path, action);
  try {
    if (size > maxBytes) {
      throw new RangeError(
        `Cannot ${action} '${path}': required at most ${maxBytes} bytes, got ${size}; is it the file that was meant?`,
      );
    }
    const bytes = await handle.readFile();
    refuseLfsPointer(bytes, path);
    return bytes;
  } catch (error) {
    throw explainFsError(error, action, path);
  } finally {
    await handle.close();
  }
}

/** As readBytes, as UTF-8 text without a byte order mark. */
export const readText = async (path: string, action: string, maxBytes?: number): Promise<string> =>
  new TextDecoder().decode(await readBytes(path, action, maxBytes));
