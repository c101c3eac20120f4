// metrics.jsonl: one JSON row per line, only ever appended, cut back on resume.
//
// Order the trainer must keep, so that a killed and resumed run ends with the same bytes as one never killed:
// append all rows of step s, call sync(), then save checkpoint-s. On resume from checkpoint-s every row with
// step > s goes away and is written again.
//
// Durability: append() hands the row to the kernel before it returns, so SIGKILL of this process loses nothing.
// Only sync() protects against a power cut or kernel crash; calling it per row would cost a disk flush each.
//
// A row that a full disk takes half of is cut off again: append() may be called with it once more. A flush that failed
// is not tried again: the system counts what it could not write as written, and a second flush would say so.

import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { explainFsError } from "../files/errors.ts";
import { stringifyExact } from "../files/exact_json.ts";

/** A row of the log; values must be JSON-safe and finite. */
export type LogRow = { readonly step: number } & Readonly<Record<string, unknown>>;

export interface AppendLog {
  /**
   * Appends one row, whole or not at all.
   * @throws RangeError when `step` is no whole number or goes back
   * @throws TypeError when a value is NaN
   */
  append(row: LogRow): void;
  /**
   * Flushes to the disk.
   * @throws Error when it cannot, or could not before
   */
  sync(): void;
  close(): void;
}

/**
 * Opens the log for appending after cutting every row with step > resumeStep and a torn last line.
 * @param resumeStep step of the checkpoint the run goes on from; -1 starts an empty log
 * @throws SyntaxError when a row that must be kept is broken, which no kill of this writer can cause
 */
export function openAppendLog(path: string, resumeStep: number): AppendLog {
  if (!Number.isSafeInteger(resumeStep) || resumeStep < -1) {
    throw new RangeError(`Cannot resume '${path}' at step ${resumeStep}: required a whole number >= -1`);
  }
  const guarded = <T>(run: () => T): T => {
    try {
      return run();
    } catch (error) {
      throw explainFsError(error, "append to", path);
    }
  };
  const descriptor = guarded(() => openSync(path, "a+"));
  let lastStep = -1;
  let sizeBytes = 0;
  let isTorn = false;
  let failedSync: unknown = null;
  const cutTornRow = () => {
    ftruncateSync(descriptor, sizeBytes);
    isTorn = false;
  };
  const flush = () => {
    if (failedSync !== null) throw failedSync;
    try {
      fsyncSync(descriptor);
    } catch (error) {
      failedSync = error;
      throw error;
    }
  };
  try {
    const kept = keptPart(guarded(() => wholeOf(descriptor, path)), resumeStep, path);
    guarded(() => ftruncateSync(descriptor, kept.sizeBytes));
    ({ lastStep, sizeBytes } = kept);
  } catch (error) {
    try {
      closeSync(descriptor);
    } catch {
      // The first error is the one to report.
    }
    throw error;
  }
  return {
    append(row) {
      if (!Number.isSafeInteger(row.step) || row.step < Math.max(lastStep, 0)) {
        throw new RangeError(
          `Cannot append to '${path}': required a whole step >= ${Math.max(lastStep, 0)}, got ${row.step}`,
        );
      }
      const bytes = new TextEncoder().encode(`${stringifyExact(row)}\n`);
      guarded(() => {
        if (isTorn) cutTornRow();
        isTorn = true;
        try {
          for (let done = 0; done < bytes.length;) {
            done += writeSync(descriptor, bytes, done, bytes.length - done);
          }
          isTorn = false;
        } catch (error) {
          try {
            cutTornRow();
          } catch {
            // The next row tries again; a run that goes on cuts it off too.
          }
          throw error;
        }
      });
      sizeBytes += bytes.length;
      lastStep = row.step;
    },
    sync: () => guarded(flush),
    close: () => guarded(() => closeSync(descriptor)),
  };
}

/** @throws Error when it is no plain file, whose end may never come */
function wholeOf(descriptor: number, path: string): Uint8Array {
  if (fstatSync(descriptor).isFile()) return readFileSync(path);
  throw new Error(`Cannot append to '${path}': required a plain file, got a device or pipe; remove it`);
}

/** Length of the longest beginning of whole rows with step <= resumeStep. */
function keptPart(
  bytes: Uint8Array,
  resumeStep: number,
  path: string,
): { sizeBytes: number; lastStep: number } {
  let sizeBytes = 0;
  let lastStep = -1;
  for (let line = 1;; line++) {
    const newline = bytes.indexOf(0x0a, sizeBytes);
    if (newline === -1 || resumeStep === -1) return { sizeBytes, lastStep };
    const step = stepOf(bytes.subarray(sizeBytes, newline), line, path);
    if (step > resumeStep) return { sizeBytes, lastStep };
    lastStep = step;
    sizeBytes = newline + 1;
  }
}

function stepOf(bytes: Uint8Array, line: number, path: string): number {
  let row: unknown;
  try {
    row = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    row = undefined;
  }
  const step: unknown = (row as { step?: unknown } | null | undefined)?.step;
  if (!Number.isSafeInteger(step)) {
    throw new SyntaxError(
      `Cannot resume '${path}': line ${line} is required to be a JSON object with a whole "step", ` +
        `got ${bytes.length} other bytes; restore the file or move it away to start a new log`,
    );
  }
  return step as number;
}
