// One file of a hub repository into blobs/ of the cache: resumed where an earlier try ended, and there under its
// final name only when size and hash are right.
//
// Each process writes a partial file of its own, `<blob>.<host>-<pid>.incomplete`, so that two of them can download
// the same model at once. Whoever finds the partial of a dead process takes it over by renaming it, which only one
// can do.

import { createHash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { open, readdir, rename, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { clearTimeout, setTimeout } from "node:timers"; // Deno's own have no refresh()
import { explainFsError, systemCode } from "../files/errors.ts";
import {
  getFromHub,
  type HubAccess,
  type HubSubject,
  IDLE_TIMEOUT_MS,
  nameOf,
  PassingFault,
  pathOf,
  retryPassing,
} from "./http.ts";

/** A file as the hub lists it. */
export interface HubFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** Of the content; "git-sha1" is git's blob id: sha1("blob {size}\0" + content). */
  readonly hash: { readonly algorithm: "sha256" | "git-sha1"; readonly hex: string };
}

/** A partial of another machine that nobody has written for so long is free: its process cannot be asked. */
const ABANDONED_AFTER_MS = 10 * 60_000;

/** An error of the cache in words: that the disk is full and what to do, or an explained file error. */
export function explainCacheError(error: unknown, path: string): unknown {
  const code = systemCode(error);
  if (code !== "ENOSPC" && code !== "EDQUOT") return explainFsError(error, "download into", path);
  return new Error(
    `Cannot download into '${path}': no space left (${code}); free some, or set HF_HOME to a folder on a larger ` +
      "disk. What was downloaded is kept: the next start goes on from there",
    { cause: error },
  );
}

/**
 * Downloads `file` to `path`. Not to be called twice at once for the same path in one process.
 * @param onBytes told how many bytes of the file are there
 * @throws Error when the content has another hash, or cannot be written; what was wrong is removed
 */
export async function downloadBlob(
  access: HubAccess,
  subject: HubSubject & { readonly file: string },
  file: HubFile,
  path: string,
  onBytes: (haveBytes: number) => void,
): Promise<void> {
  const partial = await takePartial(path);
  try {
    await retryPassing(access, () => fetchRest(access, subject, file, partial, onBytes));
    await verify(partial, file, subject, access.endpoint);
    await rename(partial, path);
  } catch (error) {
    throw explainCacheError(error, partial);
  }
}

/** The path to write to: ours, holding what the largest partial of a dead process held. */
async function takePartial(path: string): Promise<string> {
  const own = `${path}.${hostname()}-${process.pid}.incomplete`;
  const free = await abandonedPartials(path);
  for (const { partial } of free) {
    const taken = await rename(partial, own).then(() => true, () => false); // false: another process was first
    if (taken) break;
  }
  for (const { partial } of free) if (partial !== own) await rm(partial, { force: true });
  return own;
}

async function abandonedPartials(path: string): Promise<{ partial: string; sizeBytes: number }[]> {
  const prefix = `${basename(path)}.`;
  const found: { partial: string; sizeBytes: number }[] = [];
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(prefix) || !name.endsWith(".incomplete")) continue;
    const partial = join(dirname(path), name);
    const stats = await stat(partial).catch(() => undefined); // gone: its process has finished
    if (stats === undefined) continue;
    const owner = name.slice(prefix.length, -".incomplete".length);
    if (isAbandoned(owner, stats.mtimeMs)) found.push({ partial, sizeBytes: stats.size });
  }
  return found.sort((a, b) => b.sizeBytes - a.sizeBytes);
}

/** @param owner "host-pid" */
function isAbandoned(owner: string, mtimeMs: number): boolean {
  const dash = owner.lastIndexOf("-");
  const pid = Number(owner.slice(dash + 1));
  if (owner.slice(0, dash) !== hostname()) return Date.now() - mtimeMs > ABANDONED_AFTER_MS;
  if (pid === process.pid) return true; // of an earlier process with our number, or of our own last try
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return systemCode(error) === "ESRCH";
  }
}

/**
 * Appends what the partial file lacks.
 * @throws PassingFault when the connection ends before the file does
 */
async function fetchRest(
  access: HubAccess,
  subject: HubSubject & { readonly file: string },
  { sizeBytes }: HubFile,
  partial: string,
  onBytes: (haveBytes: number) => void,
): Promise<void> {
  const handle = await open(partial, constants.O_RDWR | constants.O_CREAT);
  try {
    let position = (await handle.stat()).size;
    if (position > sizeBytes) await handle.truncate(position = 0);
    onBytes(position);
    if (position === sizeBytes) return;
    const start = position;
    for await (const chunk of bytesFrom(access, subject, start)) {
      if (chunk === "from the start") {
        await handle.truncate(position = 0);
        continue;
      }
      if (position + chunk.byteLength > sizeBytes) {
        await handle.truncate(0);
        throw new Error(
          `Cannot download ${nameOf(subject)}: ${access.endpoint} sent more than the ${sizeBytes} bytes ` +
            "it lists; try again, or another HF_ENDPOINT",
        );
      }
      for (let done = 0; done < chunk.byteLength;) {
        const { bytesWritten } = await handle.write(chunk, done, chunk.byteLength - done, position);
        done += bytesWritten;
        position += bytesWritten;
      }
      onBytes(position);
    }
    if (position < sizeBytes) {
      throw new PassingFault(
        `The download of ${nameOf(subject)} ended after ${position} of ${sizeBytes} bytes`,
        { progressed: position > start },
      );
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * The file's bytes from `start` on; a connection that is cut just ends them.
 * "from the start" comes first where the server sends the whole file instead.
 */
async function* bytesFrom(
  access: HubAccess,
  subject: HubSubject & { readonly file: string },
  start: number,
): AsyncGenerator<Uint8Array | "from the start"> {
  const idle = new AbortController();
  const limitMs = access.idleTimeoutMs ?? IDLE_TIMEOUT_MS;
  const timer = setTimeout(() => idle.abort(new Error(`nothing came for ${limitMs / 1000} s`)), limitMs);
  try {
    const file = subject.file.split("/").map(encodeURIComponent).join("/");
    const path = `${pathOf(subject)}/resolve/${subject.revision}/${file}`;
    const headers: Record<string, string> = start > 0 ? { range: `bytes=${start}-` } : {};
    const response = await getFromHub(access, path, subject, { headers, signal: idle.signal });
    const isRest = response.status === 206 &&
      response.headers.get("content-range")?.startsWith(`bytes ${start}-`);
    if (start > 0 && !isRest) yield "from the start";
    const reader = response.body!.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }));
        if (done || value === undefined) return;
        timer.refresh();
        yield value;
      }
    } finally {
      await reader.cancel().catch(() => undefined); // cut already
    }
  } finally {
    clearTimeout(timer);
  }
}

/** @throws Error when the content is another; the partial file is removed */
async function verify(
  partial: string,
  { sizeBytes, hash: { algorithm, hex } }: HubFile,
  subject: HubSubject,
  endpoint: string,
): Promise<void> {
  const hash = createHash(algorithm === "sha256" ? "sha256" : "sha1");
  if (algorithm === "git-sha1") hash.update(`blob ${sizeBytes}\0`);
  for await (const chunk of createReadStream(partial, { highWaterMark: 2 ** 20 })) hash.update(chunk);
  const actual = hash.digest("hex");
  if (actual === hex) return;
  await rm(partial, { force: true });
  throw new Error(
    `Refused ${nameOf(subject)} from ${endpoint}: required ${algorithm} ${hex}, got ${actual}, ` +
      "and removed it; try again, and if it stays so, look at the proxy or mirror in between",
  );
}
