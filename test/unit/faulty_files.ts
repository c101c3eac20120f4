/**
 * A disk that fails: every call that reads or changes files below a folder is counted, and the n-th fails.
 *
 * In Node all calls of node:fs and node:fs/promises are counted. Deno binds those once, so that only the calls of open
 * files are seen there.
 */
import fs from "node:fs";
import { open } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";

export interface Fault {
  /** Number of the call that fails, from 1; Infinity: none. */
  at: number;
  /** The system's word for it: "ENOSPC". */
  code: string;
  /** "once": that call alone. "half": it writes half of its bytes first. "lasting": so do all that follow. */
  kind: "once" | "half" | "lasting";
}

type Call = (this: unknown, ...details: unknown[]) => unknown;
type Calls = Record<string, Call>;

/** What a full disk still does. */
const NEEDS_NO_SPACE =
  /^(close|closeSync|rename|renameSync|rm|rmSync|rmdir|unlink|readdir|readFile|readFileSync|read)$/;
const WANT_SPACE = ["ENOSPC", "EDQUOT"];
const OF_PROMISES = [
  "open",
  "mkdir",
  "rename",
  "rm",
  "rmdir",
  "unlink",
  "readdir",
  "copyFile",
  "writeFile",
  "readFile",
];
const OF_FILES = ["write", "writeFile", "appendFile", "read", "sync", "close"];
const OF_SYNC = [
  "openSync",
  "writeSync",
  "fsyncSync",
  "ftruncateSync",
  "closeSync",
  "rmSync",
  "readFileSync",
];

const errorOf = (code: string, syscall: string) =>
  Object.assign(new Error(`${code}: a fault of the test, ${syscall}`), { code, syscall, errno: -1 });

const isDeno = "Deno" in globalThis;

/**
 * Runs `body` while the disk fails below `dir`.
 * @returns what the calls were, as "rename .a.partial"; and what `body` gave, or threw
 */
export async function withFault<T>(
  dir: string,
  { at, code, kind }: Fault,
  body: () => Promise<T>,
): Promise<{ calls: string[]; value?: T; error?: Error }> {
  const calls: string[] = [];
  const paths = new Map<unknown, string>();
  const undo: (() => void)[] = [];
  const inside = (path: unknown) => typeof path === "string" && path.startsWith(join(dir, "/"));
  /** Whether this call, the next of all, is to fail. */
  function fails(name: string, path: string): boolean {
    calls.push(`${name} ${path.slice(dir.length + 1).replace(/-[0-9a-f]{16}/g, "")}`);
    if (calls.length === at) return true;
    const isSpared = WANT_SPACE.includes(code) && NEEDS_NO_SPACE.test(name);
    return kind === "lasting" && calls.length > at && !isSpared;
  }
  /** @param pathOf the path of a call, where it is below the folder */
  function stand(
    calls: Calls,
    names: readonly string[],
    pathOf: (self: unknown, ...details: unknown[]) => string | null,
  ) {
    for (const name of names) {
      const real = calls[name];
      calls[name] = function (...details) {
        const path = pathOf(this, ...details);
        const isSync = name.endsWith("Sync");
        if (path === null) return real.apply(this, details);
        if (fails(name, path)) {
          if (/^close/.test(name)) void real.apply(this, details); // a handle is gone, whatever close says
          const bytes = details[isSync ? 1 : 0];
          const halves = kind === "half" && /^write(Sync)?$/.test(name) && bytes instanceof Uint8Array;
          const half = halves ? Math.floor(bytes.length / 2) : 0;
          if (isSync) {
            if (halves) real.call(this, details[0], bytes, 0, half);
            throw errorOf(code, name);
          }
          const before = halves ? real.call(this, bytes, 0, half, null) : undefined;
          return Promise.resolve(before).then(() => {
            throw errorOf(code, name);
          });
        }
        const result = real.apply(this, details);
        if (name === "openSync") paths.set(result, path);
        if (name === "closeSync") paths.delete(details[0]);
        if (name !== "open") return result;
        return (result as Promise<unknown>).then((handle) => {
          paths.set(handle, path);
          return handle;
        });
      };
      undo.push(() => calls[name] = real);
    }
  }
  const handle = await open(dir, "r");
  const prototype = Object.getPrototypeOf(handle) as Calls;
  await handle.close();
  const known = (key: unknown) => paths.get(key) ?? null;
  stand(prototype, OF_FILES, (self) => isDeno ? join(dir, "a file") : known(self));
  if (!isDeno) {
    const ofPaths = (_: unknown, ...[from, to]: unknown[]) =>
      [from, to].filter(inside).map(String).at(-1) ?? null;
    stand(fs.promises as unknown as Calls, OF_PROMISES, ofPaths);
    stand(
      fs as unknown as Calls,
      OF_SYNC,
      (_, first) => typeof first === "number" ? known(first) : inside(first) ? first as string : null,
    );
    syncBuiltinESMExports();
  }
  try {
    return { calls, value: await body() };
  } catch (error) {
    return { calls, error: error as Error };
  } finally {
    for (const restore of undo) restore();
    if (!isDeno) syncBuiltinESMExports();
  }
}
