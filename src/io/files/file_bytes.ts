// Bytes of a file by position, so that files of any size are read in parts.

import type { FileHandle } from "node:fs/promises";
import { explainFsError, formatError } from "./errors.ts";
import { openFile } from "./whole_file.ts";

/** A file, or what stands for one. Positions and lengths are whole numbers of bytes below 2^53. */
export interface FileBytes {
  /** Named in errors. */
  readonly path: string;
  readonly size: number;
  /**
   * Exactly `length` bytes, in memory of their own.
   * @throws Error when the file ends before
   */
  read(position: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/**
 * Opens a regular file.
 * @throws Error when it cannot be read or is none
 */
export async function openFileBytes(path: string): Promise<FileBytes> {
  const { handle, size } = await openFile(path, "read");
  return {
    path,
    size,
    read: (position, length) => readAt(handle, position, length, path),
    close: () => handle.close(),
  };
}

/** The bytes from `start` on, piece by piece. */
export async function* piecesOf(file: FileBytes, pieceBytes: number, start = 0): AsyncGenerator<Uint8Array> {
  for (let at = start; at < file.size; at += pieceBytes) {
    yield await file.read(at, Math.min(pieceBytes, file.size - at));
  }
}

async function readAt(
  handle: FileHandle,
  position: number,
  length: number,
  path: string,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  const step = 2 ** 30; // one call of read(2) moves at most 2 GiB - 4 KiB
  for (let done = 0; done < length;) {
    const { bytesRead } = await handle.read(bytes, done, Math.min(step, length - done), position + done)
      .catch((error) => {
        throw explainFsError(error, "read", path);
      });
    if (bytesRead === 0) {
      throw formatError(
        path,
        `required ${length} bytes at ${position}, file ended after ${done}; it changed`,
      );
    }
    done += bytesRead;
  }
  return bytes;
}
