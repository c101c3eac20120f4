/** Where scorers are: their URLs, or files that scorers write their URLs into and a trainer waits for. */
import { randomUUID } from "node:crypto";
import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { shortJson } from "../config/parsed_json.ts";
import { sleep } from "./retry.ts";

const FILE_PREFIX = "file:";
/** What is longer is no address that somebody typed. */
const MOST_SUGGESTED = 200;

export interface WaitForUrlOptions {
  /** Default 1 hour: a scorer job may have to queue. */
  timeoutMs?: number;
  pollMs?: number;
  /** Called once, when there is something to wait for. @param paths with commas between */
  onWait?: (paths: string) => void;
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
    const suggestion = trimmed.length <= MOST_SUGGESTED && /^[\w.-]+(:\d+)?(\/|$)/.test(trimmed)
      ? `http://${trimmed}`
      : "http://localhost:8000";
    throw new TypeError(
      `scorer_url is ${shortJson(trimmed)}: need http:// or https:// in front; try "${suggestion}"`,
    );
  }
  if (!URL.canParse(trimmed)) {
    throw new TypeError(
      `scorer_url is ${shortJson(trimmed)}: not a URL; it looks like "http://localhost:8000"`,
    );
  }
  const url = new URL(trimmed);
  // The text is not shown: it may hold a password. fetch refuses such URLs anyway.
  if (url.username || url.password) throw new TypeError("scorer_url holds a user or password: remove them");
  if (url.search || url.hash) {
    throw new TypeError(
      `scorer_url is ${shortJson(trimmed)}: need a URL without "?" and "#"; requests add their own path`,
    );
  }
  return url.href.replace(/\/+$/, "");
}

/** The file that an address names; null where it is a URL. */
export const fileOf = (address: string): string | null =>
  address.startsWith(FILE_PREFIX) ? address.slice(FILE_PREFIX.length) : null;

/**
 * The URLs that an address of `scorer_url` stands for now: itself, or with `file:PATH` the lines of that file. A file
 * that is absent, empty or without its last newline is one that is not written yet: none.
 * @throws TypeError when one is no URL
 */
export async function scorerUrlsAt(address: string): Promise<string[]> {
  const path = fileOf(address);
  if (path === null) return [parseScorerUrl(address)];
  const text = await readIfPresent(path);
  return text.endsWith("\n") ? parseScorerUrls(text, path) : [];
}

/**
 * The URLs in a file's text, one a line; empty lines are none.
 * @throws TypeError when a line is no URL
 */
export function parseScorerUrls(text: string, path: string): string[] {
  return text.split("\n").filter((line) => line.trim() !== "").map((line) => {
    try {
      return parseScorerUrl(line);
    } catch (cause) {
      throw new TypeError(
        `"${path}" must hold a scorer's URL in each line: ${(cause as Error).message}`,
        { cause },
      );
    }
  });
}

/**
 * Waits until `read` finds something, as it does once a scorer has written its URL into one of `paths`.
 *
 * @throws Error when `timeoutMs` have passed
 * @throws the signal's reason when the caller aborts, and what `read` throws
 */
export async function waitForScorers<T>(
  paths: readonly string[],
  read: () => Promise<T[]>,
  options: WaitForUrlOptions = {},
): Promise<T[]> {
  const { timeoutMs = 3_600_000, pollMs = 1000, onWait, signal } = options;
  const deadlineMs = performance.now() + timeoutMs;
  const named = paths.map((path) => `"${path}"`).join(", ");
  for (let waits = 0;; waits++) {
    const found = await read();
    if (found.length > 0) return found;
    if (performance.now() >= deadlineMs) {
      throw new Error(
        `No scorer URL in ${named} after ${timeoutMs / 1000} s: need a line with a URL; ` +
          `see whether the scorer started with --url_file ${named} is running, and its log`,
      );
    }
    if (waits === 0) onWait?.(paths.join(", "));
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

/** Lines of addresses take some hundred bytes. */
const MAX_FILE_BYTES = 2 ** 20;

async function readIfPresent(path: string): Promise<string> {
  try {
    const found = await stat(path); // a pipe would be waited for without end
    if (!found.isFile() || found.size > MAX_FILE_BYTES) {
      const what = found.isFile() ? `one of ${found.size} bytes` : "a folder, pipe or device";
      throw new TypeError(
        `"${path}" must be the file that a scorer writes its URL into, got ${what}; correct the path`,
      );
    }
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
