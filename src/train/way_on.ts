/** What a run that failed says of how to go on: by what lies in its folder, read and verified, not by what ought to. */
import { basename } from "node:path";
import type { RunConfig } from "../config/sweep.ts";
import { openGpu } from "../gpu/device.ts";
import { GpuError } from "../gpu/failure.ts";
import { messageOf } from "../io/files/errors.ts";
import { latestCheckpoint } from "../io/records/checkpoint.ts";
import { NonfinitePolicyError } from "../policy/nonfinite.ts";
import { DivergedError, smallerRate } from "./nonfinite_steps.ts";

/** The newest checkpoint whose files have their sizes and hashes, and those that do not. */
async function checkpointText(runDir: string): Promise<{ name: string | null; text: string }> {
  const { dir, skipped } = await latestCheckpoint(runDir);
  const damaged = skipped.map(({ dir }) => `${basename(dir)} is damaged`).join(", ");
  if (dir === undefined) {
    const text = damaged === "" ? "There is no checkpoint" : `There is no whole checkpoint: ${damaged}`;
    return { name: null, text };
  }
  const text = `The newest whole checkpoint is '${dir}'${damaged === "" ? "" : ` (${damaged})`}`;
  return { name: basename(dir), text };
}

/** A budget that the plan of memory keeps to, GiB: less than what was there when the memory ran out. */
async function budgetText(): Promise<string> {
  const { memory } = await openGpu();
  const gib = Math.floor(0.9 * memory().peakBytes / 2 ** 30 * 100) / 100;
  const planned = gib > 0
    ? `--set gpu_memory_gib=${gib} plans what is done at a time for less memory; so do by hand `
    : "By hand: ";
  return `${planned}a smaller per_device_train_batch_size, max_completion_length or max_prompt_length`;
}

async function textFor(
  error: Error,
  runDir: string,
  config: RunConfig,
  step: number,
): Promise<string | null> {
  if (error instanceof GpuError) {
    const { name, text } = await checkpointText(runDir);
    const remedy = error.fault === "out of memory" ? `${await budgetText()}. ` : "";
    return `${remedy}${text}: the same command ${name ? "goes on from it" : "starts over"}`;
  }
  if (error instanceof DivergedError) {
    const { name, text } = await checkpointText(runDir);
    if (name === null) return text;
    return `${text}: the same command goes on from it; where it stops again at once, remove that and go on from one ` +
      "before";
  }
  if (!(error instanceof NonfinitePolicyError)) return null;
  const { name, text } = await checkpointText(runDir);
  if (name === null) {
    return `${text}: start over with ${step === 0 ? "another model_name or dtype" : smallerRate(config)}`;
  }
  return name === `checkpoint-${step}`
    ? `${text}, which holds these very weights: remove it, and go on from one before with ${
      smallerRate(config)
    }`
    : `${text}, of an earlier step: go on from it with ${smallerRate(config)}`;
}

/** Errors that say it already: a device's failure is told by whatever asks the device next. */
const told = new WeakSet<Error>();

/** The same error with the way on behind its message, where it is one of the kinds above. */
export async function withWayOn(
  error: unknown,
  { runDir, config, step }: { runDir: string; config: RunConfig; step: number },
): Promise<unknown> {
  if (!(error instanceof Error) || told.has(error)) return error;
  told.add(error);
  const text = await textFor(error, runDir, config, step)
    .catch((unread) => `Its checkpoints cannot be read: ${messageOf(unread)}`);
  if (text !== null) error.message = `${error.message}. ${text}`;
  return error;
}
