// Files and folders that appear whole or not at all, also after SIGKILL or a power cut:
// write beside the target, fsync, rename, fsync the parent folder.
// A killed writer leaves ".<name>.partial-<hex>"; see removeStalePartials.

import { randomBytes } from "node:crypto";
import { type FileHandle, mkdir, mkdtemp, open, readdir, rename, rm, rmdir, unlink } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { explainFsError, systemCode } from "./errors.ts";
import { isAbsence, isFolder, isThere } from "./presence.ts";

const PARTIAL = /^\.(.+)\.(partial|replaced|removed)-[0-9a-f]{16}$/;

/** fsync of a folder, so that a rename inside it survives a power cut. */
async function syncFolder(path: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "r");
    await handle.sync();
  } catch (error) {
    // Some file systems and Windows cannot fsync a folder; the rename itself is still atomic there.
    if (!["EISDIR", "EINVAL", "EPERM", "ENOTSUP", "EBADF"].includes(systemCode(error) ?? "")) throw error;
  } finally {
    await handle?.close();
  }
}

/** Path beside `target` that no reader takes for a finished file. */
function besideOf(target: string, kind: "partial" | "replaced" | "removed"): string {
  return join(dirname(target), `.${basename(target)}.${kind}-${randomBytes(8).toString("hex")}`);
}

/** Writes all bytes at the handle's position; FileHandle.write may write less than it was given. */
export async function writeFully(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  const step = 2 ** 30; // one call of write(2) moves at most 2 GiB - 4 KiB
  for (let done = 0; done < bytes.byteLength;) {
    const length = Math.min(step, bytes.byteLength - done);
    const { bytesWritten } = await handle.write(bytes, done, length, null);
    done += bytesWritten;
  }
}

/**
 * Writes a file so that `path` holds either its old content or all of the new one.
 * @param content bytes, text, or a function that streams into the open handle
 * @throws Error when it cannot be written (see explainFsError); the partial file is removed
 */
export async function writeFileAtomic(
  path: string,
  content: Uint8Array | string | ((handle: FileHandle) => Promise<void>),
): Promise<void> {
  const partial = besideOf(path, "partial");
  let handle: FileHandle | undefined;
  try {
    handle = await open(partial, "wx");
    if (typeof content === "function") await content(handle);
    else await writeFully(handle, typeof content === "string" ? new TextEncoder().encode(content) : content);
    await handle.sync();
    await handle.close();
    handle = undefined;
    await rename(partial, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await handle?.close().catch(() => undefined); // the first error is the one to report
    await rm(partial, { force: true }).catch(() => undefined);
    throw explainFsError(error, "write", path);
  }
}

/**
 * Writes a text, packed or not, as writeFileAtomic does, and the folder that it lies in where there is none.
 * @throws Error when it cannot be written (see explainFsError)
 */
export async function writeTextInFolder(path: string, text: string | Uint8Array): Promise<void> {
  await makeFolders(dirname(path)).catch((error) => {
    throw explainFsError(error, "make the folder", dirname(path));
  });
  await writeFileAtomic(path, text);
}

/** fsync of every file and folder below `dir`, deepest first. */
async function syncTree(dir: string): Promise<void> {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else if (entry.isFile()) {
      const handle = await open(path, "r+");
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    }
  }
  await syncFolder(dir);
}

/**
 * Fills a folder beside `finalDir` and renames it into place when it is complete and on disk.
 * A folder already at `finalDir` is replaced; a kill between its two renames leaves neither, never a mixture.
 * What a killed writer of the same folder left behind is removed first.
 * @param files what renames and removes
 * @throws Error when `fill` throws or the folder cannot be written; the unfinished folder is removed
 */
export async function writeDirectoryAtomic(
  finalDir: string,
  fill: (partialDir: string) => Promise<void>,
  files: Files = { rename, rm },
): Promise<void> {
  const parent = dirname(finalDir);
  const partial = besideOf(finalDir, "partial");
  try {
    await makeFolders(parent);
    await removeStalePartials(parent, basename(finalDir));
    await mkdir(partial);
    await fill(partial);
    await syncTree(partial);
    await moveInto(partial, finalDir, files);
    await syncFolder(parent);
  } catch (error) {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined);
    throw explainFsError(error, "write the folder", finalDir);
  }
}

type Files = { rename: typeof rename; rm: typeof rm };

/** Renames a folder into place; one that is there goes only once the new one stands, and comes back if that fails. */
async function moveInto(partial: string, finalDir: string, files: Files): Promise<void> {
  try {
    await files.rename(partial, finalDir);
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST"].includes(systemCode(error) ?? "")) throw error;
    const replaced = besideOf(finalDir, "replaced");
    await files.rename(finalDir, replaced);
    try {
      await files.rename(partial, finalDir);
    } catch (failure) {
      await files.rename(replaced, finalDir).catch(() => undefined); // the first failure is the one to report
      throw failure;
    }
    // The new one stands: what cannot be removed now is so when the next run begins.
    await files.rm(replaced, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Removes a folder so that no reader ever sees it half deleted: out of the way by rename, then deleted. */
export async function removeDirectoryAtomic(dir: string): Promise<void> {
  const removed = besideOf(dir, "removed");
  try {
    await rename(dir, removed);
    await rm(removed, { recursive: true, force: true });
  } catch (error) {
    throw explainFsError(error, "remove", dir);
  }
}

/**
 * Deletes what killed writers left in `dir` and returns the names; what was to be replaced and was not comes back.
 * Only the one process that owns the folder may call it: a partial file of a living writer looks the same.
 * @param name only leftovers of this file or folder; all when left out
 * @throws Error when they cannot be removed (see explainFsError)
 */
export async function removeStalePartials(dir: string, name?: string): Promise<string[]> {
  try {
    const entries = await readdir(dir).catch((error) => {
      if (isAbsence(error)) return [];
      throw error;
    });
    const stale = entries.filter((entry) =>
      PARTIAL.test(entry) && (name === undefined || entry.slice(1, entry.lastIndexOf(".")) === name)
    );
    for (const entry of stale) {
      const [, target, kind] = PARTIAL.exec(entry)!;
      const path = join(dir, entry);
      const isOnlyOne = kind === "replaced" && !await isThere(join(dir, target)); // killed between two renames
      if (isOnlyOne) await rename(path, join(dir, target));
      else await rm(path, { recursive: true, force: true });
    }
    return stale;
  } catch (error) {
    throw explainFsError(error, "clear the folder", dir);
  }
}

/**
 * Moves a folder out of the way, to the first free of `dir.old-1`, `dir.old-2`...
 * @returns the new path; undefined when there is no such folder
 * @throws Error when it cannot be moved
 */
export async function setAside(dir: string): Promise<string | undefined> {
  if (!await isThere(dir)) return undefined;
  let number = 1;
  while (await isThere(`${dir}.old-${number}`)) number++;
  const path = `${dir}.old-${number}`;
  await rename(dir, path).catch((error) => {
    throw explainFsError(error, "move", dir);
  });
  return path;
}

/**
 * Makes a folder and those above it. Not mkdir's own `recursive`, which Node repeats for ever where a file system says
 * that what is above is not there, as /proc does.
 * @returns those that were not there
 * @throws the system's error where it cannot be made
 */
export async function makeFolders(dir: string): Promise<string[]> {
  const folders = [resolve(dir)];
  for (let above = dirname(folders[0]); !await isThere(above); above = dirname(above)) folders.unshift(above);
  const made: string[] = [];
  for (const folder of folders) {
    await mkdir(folder).then(() => made.push(folder), async (error) => {
      if (systemCode(error) === "EEXIST" && await isFolder(folder)) return; // it is there, or another made it meanwhile
      throw error;
    });
  }
  return made;
}

/**
 * Proves that `dir` can be made, or written into where it is there; leaves nothing behind.
 * @throws Error when it cannot
 */
export async function assertFolderCanBe(dir: string): Promise<void> {
  let existing = resolve(dir);
  while (!await isFolder(existing) && dirname(existing) !== existing) existing = dirname(existing);
  try {
    // A file in the way of a folder above is found by what the folder would be made with.
    const between = relative(existing, resolve(dir)).split(sep)[0];
    if (between !== "" && await isThere(join(existing, between))) {
      throw Object.assign(new Error(), { code: "EEXIST" });
    }
    await rmdir(await mkdtemp(join(existing, ".write-test-")));
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw explainFsError(error, "write into the folder", dir);
    throw new Error(
      `Cannot write into the folder '${dir}': required a folder where others can be made, but '${existing}' takes ` +
        "none (ENOENT); choose a folder on a disk",
      { cause: error },
    );
  }
}

/**
 * Creates `dir` if need be and proves by a write that files can be made there.
 * @throws Error when they cannot
 */
export async function assertWritableFolder(dir: string): Promise<void> {
  const probe = besideOf(join(dir, "write-test"), "partial");
  try {
    await makeFolders(dir);
    const handle = await open(probe, "wx");
    try {
      await writeFully(handle, new Uint8Array(1));
    } finally {
      await handle.close();
      await unlink(probe);
    }
  } catch (error) {
    throw explainFsError(error, "write into the folder", dir);
  }
}
