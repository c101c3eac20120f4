// What a clone without Git LFS leaves in a large file's place: three lines of text that say where the bytes are.
// Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md

import { formatError } from "./errors.ts";

const BEGIN = "version https://git-lfs.github.com/spec/";

/** How many bytes of a file tell. */
export const LFS_PROBE_BYTES = BEGIN.length;

/** @param start a file's first bytes */
export const isLfsPointer = (start: Uint8Array): boolean =>
  String.fromCharCode(...start.subarray(0, BEGIN.length)).startsWith(BEGIN);

/**
 * Refuses a pointer.
 * @param start the file's first bytes
 * @throws Error when the file is one; it says how the bytes are fetched
 */
export function refuseLfsPointer(start: Uint8Array, path: string): void {
  if (!isLfsPointer(start)) return;
  throw formatError(
    path,
    "it is a Git LFS pointer instead of the file itself; run git lfs pull in its folder, or download the file",
  );
}
