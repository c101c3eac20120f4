/** Where the scorer is: its URL, or a file that a scorer writes its URL into and a trainer waits for. */
import { randomUUID } from "node:crypto";
import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { sleep } from "./retry.ts";

const FILE_PREFIX = "file:";

export interface WaitForUrlOptions {
  /** Default 1 hour: a scorer job may have to queue. */
  timeoutMs?: number;
  pollMs?: number;
  /** Called once, when there is something to wait for. */
  onWait?: (path: string) => void;
  signal?: AbortSignal;
}

/**
 * A scorer's URL without trailing slashes.
 *
 * @throws TypeError when it is not http:// or https:// with a host, or has a user, query or fragment
 */
export function parseScorerUrl(text: string): string {
  const trimmed = text.trim();
  if (!/^https?:\/\//i.test(trimmed)) {
    const suggestion = /^[\w.-]+(:\d+)?(\/|$)/.test(trimmed) ? `http://${trimmed}` : "http://localhost:8000";
    throw new TypeError(`scorer_url is "${trimmed}": need http:// or https:// in front; try "${suggestion}"`);
  }
  if (!URL.canParse(trimmed)) {
    throw new TypeError(`scorer_url is "${trimmed}": not a URL; it looks like "http://localhost:8000"`);
  }
  const url = new URL(trimmed);
  // The text is not shown: it may hold a password. fetch refuses such URLs anyway.
  if (url.username || url.password) throw new TypeError("scorer_url holds a user or password: remove them");
  if (url.search || url.hash) {
    throw new TypeError(
      `scorer_url is "${trimmed}": need a URL without "?" and "#"; requests add their own path`,
    );
  }
  return url.href.replace(/\/+$/, "");
}

/** The URL that `scorer_url` stands for: itself, or with `file:PATH` the line in that file, waited for. */
export function resolveScorerUrl(scorerUrl: string, options: WaitForUrlOptions = {}): Promise<string> {
  return scorerUrl.startsWith(FILE_PREFIX)
    ? waitForScorerUrl(scorerUrl.slice(FILE_PREFIX.length), options)
    : Promise.resolve(scorerUrl).then(parseScorerUrl);
}

/**
 * Waits until `path` holds one whole line with a scorer's URL, and returns that URL.
 * A file that is absent, empty or without its newline is one that is not written yet.
 *
 * @throws Error when `timeoutMs` have passed
 * @throws TypeError when the line is no URL or more lines follow
 * @throws the signal's reason when the caller aborts
 */
export async function waitForScorerUrl(path: string, options: WaitForUrlOptions = {}): Promise<string> {
  const { timeoutMs = 3_600_000, pollMs = 1000, onWait, signal } = options;
  const deadlineMs = performance.now() + timeoutMs;
  for (let waits = 0;; waits++) {
    const text = await readIfPresent(path);
    if (text.endsWith("\n") && text.trim() !== "") return parseUrlLine(text, path);
    if (performance.now() >= deadlineMs) {
      throw new Error(
        `No scorer URL in "${path}" after ${timeoutMs / 1000} s: need one line with a URL; ` +
          `see whether the scorer started with --url_file "${path}" is running, and its log`,
      );
    }
    if (waits === 0) onWait?.(path);
    await sleep(Math.min(pollMs, timeoutMs), signal);
  }
}

/**
 * Writes the URL line, so that a reader on a shared file system sees the old file or the whole new one.
 * @param path in a folder that is there
 */
export async function writeScorerUrl(path: string, url: string): Promise<void> {
  const partial = `${path}.${randomUUID()}.partial`;
  await writeFile(partial, `${url}\n`);
  await rename(partial, path);
}

function parseUrlLine(text: string, path: string): string {
  try {
    return parseScorerUrl(text);
  } catch (cause) {
    throw new TypeError(`"${path}" must hold one line with the scorer's URL: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** Lines of addresses take some hundred bytes. */
const MAX_FILE_BYTES = 2 ** 20;

async function readIfPresent(path: string): Promise<string> {
  try {
    const found = await stat(path); // a pipe would be waited for without end
    if (!found.isFile() || found.size > MAX_FILE_BYTES) {
      const what = found.isFile() ? `one of ${found.size} bytes` : "a folder, pipe or device";
      throw new TypeError(`"${path}" must be the file that a scorer writes its URL into, got ${what}; correct the path`);
    }
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
