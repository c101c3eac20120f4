/** Reads back the completions that a run kept. */
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { parsedObject } from "../config/parsed_json.ts";
import { messageOf } from "../io/files/errors.ts";
import { readBytes } from "../io/files/whole_file.ts";
import {
  type RolloutRecord,
  ROLLOUTS_FOLDER,
  rolloutsFile,
  stepsWithRollouts,
} from "../tracking/rollout_records.ts";

/** The longest text that a string may hold, so that a file which unpacks to more is an error and not a crash. */
const MOST_BYTES = 2 ** 29 - 64;
const REMEDY = "remove the file, or train its step again";

/**
 * Every completion that a run kept, by step and place.
 * @throws Error when the folder holds none, or a file cannot be read or unpacked; it names the file
 * @throws SyntaxError or TypeError when a line is no JSON object; it names the line
 */
export async function* readRollouts(runDir: string): AsyncGenerator<RolloutRecord> {
  const steps = await stepsWithRollouts(runDir);
  if (steps.length === 0) {
    throw new Error(
      `Cannot read rollouts of '${runDir}': required files rollouts/STEP.jsonl.gz in it, found none; give the ` +
        "folder of a run that was trained with log_completions=all",
    );
  }
  for (const step of steps) yield* await readStepRollouts(runDir, step);
}

/**
 * Those of one step, by place.
 * @throws Error when the file cannot be read or unpacked; it names the file
 * @throws SyntaxError or TypeError when a line is no JSON object; it names the line
 */
export async function readStepRollouts(runDir: string, step: number): Promise<RolloutRecord[]> {
  const path = join(runDir, ROLLOUTS_FOLDER, rolloutsFile(step));
  const lines = unpacked(await readBytes(path, "read"), path).split("\n");
  return lines.flatMap((line, i) =>
    // What is missing of it is null to whoever asks.
    line === "" ? [] : [parsedObject(line, `${path}:${i + 1}`, REMEDY) as unknown as RolloutRecord]
  );
}

function unpacked(bytes: Uint8Array, path: string): string {
  try {
    return gunzipSync(bytes, { maxOutputLength: MOST_BYTES }).toString();
  } catch (cause) {
    throw new Error(
      `Cannot unpack '${path}': required a whole gzip file of at most ${MOST_BYTES} bytes of text, found one that ` +
        `is none (${messageOf(cause)}); ${REMEDY}`,
      { cause },
    );
  }
}
