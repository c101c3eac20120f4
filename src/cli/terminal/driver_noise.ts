/** Lines that drivers write to the process's stderr by themselves, about nothing to act on. */
import {
  closeSync,
  constants,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { detectRuntime } from "../../gpu/device.ts";

const NOISE = [
  // Dawn, of limits for dynamic offsets, which no kernel uses.
  /artificially reduced from \d+ to \d+ to fit dynamic offset/,
  // Mesa, of lavapipe, which the banner names as the device.
  /is not a conformant [Vv]ulkan implementation/,
];

/** What is left of a driver's words once the noise is taken out. */
export function worthReading(text: string): string {
  return text.split("\n").filter((line) => !NOISE.some((noise) => noise.test(line))).join("\n");
}

/**
 * Runs `body` while the process's stderr goes to a file, then writes to stderr what of it is no noise. Where stderr
 * cannot be opened again (a socket), is a file that others write to from a place of their own, or GRPO_DEBUG is set,
 * `body` simply runs.
 *
 * For programs that do nothing else meanwhile: for a moment descriptor 2 is free, and another opening could get it.
 */
export async function withoutDriverNoise<R>(body: () => Promise<R>): Promise<R> {
  const held = isHolding() ? holdStderr() : null;
  try {
    return await body();
  } finally {
    held?.release();
  }
}

/**
 * Whether writing to stderr opened anew is the same as writing to it. Not with `> log 2>&1`: a file that is not
 * appended to is written where the last of all who share its opening stopped, and what is opened anew shares nothing,
 * so that the shell's next line, or stdout's, would stand on ours.
 */
function isReopenable(): boolean {
  if (!fstatSync(2).isFile()) return true;
  const [, flags] = /^flags:\s*([0-7]+)/m.exec(readFileSync("/proc/self/fdinfo/2", "utf8")) ?? [];
  return flags !== undefined && (parseInt(flags, 8) & constants.O_APPEND) !== 0;
}

/** Deno's driver writes none of these lines, and its descriptors are not the system's. */
function isHolding(): boolean {
  return process.platform === "linux" && detectRuntime() === "node" && !process.env.GRPO_DEBUG;
}

function holdStderr(): { release(): void } | null {
  if (!isReopenable()) return null;
  const folder = mkdtempSync(join(tmpdir(), "grpo-stderr-"));
  const file = join(folder, "lines");
  try {
    // A second way to what stderr is now; "a", so that a log is not cut.
    const before = openSync("/proc/self/fd/2", "a");
    const lines = openSync(file, "a");
    pointStderrAt(lines);
    return { release: () => release(before, folder, file) };
  } catch {
    rmSync(folder, { recursive: true, force: true });
    return null;
  }
}

/** Descriptor 2 becomes another way to `descriptor`, which is closed: what is opened gets the lowest free number. */
function pointStderrAt(descriptor: number): void {
  closeSync(2);
  openSync(`/proc/self/fd/${descriptor}`, "a");
  closeSync(descriptor);
}

function release(before: number, folder: string, file: string): void {
  pointStderrAt(before);
  const rest = worthReading(readFileSync(file, "utf8"));
  rmSync(folder, { recursive: true, force: true });
  if (rest.trim() !== "") writeSync(2, rest);
}
