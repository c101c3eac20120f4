/** What may come of a broken file: what it holds is used, or an error says which file is broken and what to do. */
import { basename } from "node:path";
import { memoryUsage } from "node:process";
import type { Format } from "./seeds.ts";

/** More than this is an answer to a length that lies. The longest row of prompts that is taken has 256 MiB. */
const MAX_HELD_BYTES = 600 * 2 ** 20;
const MAX_LINE = 1500;
const MAX_LINES = 110;

/** @returns what is wrong with an error; null where nothing is */
function complaintAbout(error: unknown, file: string): string | null {
  if (!(error instanceof Error)) return `no Error was thrown, but ${String(error)}`;
  const { message } = error;
  if (!message.includes(basename(file))) return `the message does not name the file: ${error.stack}`;
  const lines = message.split("\n");
  const longest = lines.reduce((a, b) => a.length > b.length ? a : b);
  if (longest.length > MAX_LINE) return `a line of ${longest.length} characters: ${longest.slice(0, 300)}`;
  if (lines.length > MAX_LINES) return `a message of ${lines.length} lines: ${message.slice(0, 300)}`;
  return null;
}

export interface Outcome {
  complaint: string | null;
  isRefused: boolean;
  /** Of buffers, right after. */
  heldBytes: number;
}

/** Reads a file that is in its place. */
export async function outcomeOf(format: Format, dir: string): Promise<Outcome> {
  let complaint: string | null = null;
  let isRefused = false;
  try {
    await format.read(dir);
  } catch (error) {
    isRefused = true;
    complaint = complaintAbout(error, format.file);
  }
  const heldBytes = memoryUsage().arrayBuffers;
  if (heldBytes > MAX_HELD_BYTES) complaint ??= `${heldBytes} bytes were held`;
  return { complaint, isRefused, heldBytes };
}
