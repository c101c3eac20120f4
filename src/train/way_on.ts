/** What a run that failed says of how to go on: by what lies in its folder, read and verified, not by what ought to. */
import { basename } from "node:path";
import type { RunConfig } from "../config/sweep.ts";
import { openGpu } from "../gpu/device.ts";
import { GpuError } from "../gpu/failure.ts";
import { messageOf } from "../io/files/errors.ts";
import { latestCheckpoint } from "../io/records/checkpoint.ts";
import { NonfinitePolicyError } from "../policy/nonfinite.ts";
import { DivergedError, smallerRate } from "./nonfinite_steps.ts";

interface Found {
  name: string | null;
  text: string;
  /** What the same command does. */
  next: string;
}

/** The newest checkpoint whose files have their sizes and hashes, and those that do not. */
async function findCheckpoint(runDir: string): Promise<Found> {
  const { dir, skipped } = await latestCheckpoint(runDir);
  const damaged = skipped.map(({ dir }) => `${basename(dir)} is damaged`).join(", ");
  if (dir !== undefined) {
    const text = `The newest whole checkpoint is '${dir}'${damaged && ` (${damaged})`}`;
    return { name: basename(dir), text, next: "the same command goes on from it" };
  }
  if (damaged === "") {
    return { name: null, text: "There is no checkpoint", next: "the same command starts over" };
  }
  return {
    name: null,
    text: `There is no whole checkpoint: ${damaged}`,
    next: "restore one, or set resume=false to start over",
  };
}

/** A budget that the plan of memory keeps to, GiB: less than what was there when the memory ran out. */
async function budgetText(): Promise<string> {
  const { memory } = await openGpu();
  const gib = Number((0.9 * memory().peakBytes / 2 ** 30).toPrecision(2));
  return `--set gpu_memory_gib=${gib} plans what is done at a time for less memory; so do by hand a smaller ` +
    "per_device_train_batch_size, max_completion_length or max_prompt_length";
}

async function textFor(
  error: Error,
  runDir: string,
  config: RunConfig,
  step: number,
): Promise<string | null> {
  const isOfGpu = error instanceof GpuError;
  if (!isOfGpu && !(error instanceof DivergedError) && !(error instanceof NonfinitePolicyError)) return null;
  const { name, text, next } = await findCheckpoint(runDir);
  if (isOfGpu) {
    const remedy = error.fault === "out of memory" ? `${await budgetText()}. ` : "";
    return `${remedy}${text}: ${next}`;
  }
  if (error instanceof DivergedError) {
    return `${text}: ${next}${
      name && "; where it stops again at once, remove that, and go on from one before"
    }`;
  }
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
