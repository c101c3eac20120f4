/** What the folder of a model tells of the run that trained it. */
import { basename, dirname, join, resolve } from "node:path";
import { formatError } from "../io/files/errors.ts";
import { readIfThere } from "../io/files/presence.ts";
import { isJsonObject } from "../io/files/json_object.ts";
import type { MetricRow } from "../tracking/metrics.ts";
import { BEST_MODEL_FILE, parseMetrics } from "../tracking/run_records.ts";

export interface TrainedModel {
  /** Optimizer steps that made it. */
  step: number;
  /** Of that step, by the name of their costs; null: the run had one. */
  lambdas: ReadonlyMap<string | null, number>;
}

/** Where the rows of the run lie that a folder may belong to: its own, or that of a run of which it is a part. */
async function runOf(dir: string): Promise<{ runDir: string; step: number }> {
  const checkpoint = /^checkpoint-(\d+)$/.exec(basename(dir));
  if (checkpoint) return { runDir: dirname(dir), step: Number(checkpoint[1]) };
  const runDir = basename(dir) === "merged" ? dirname(dir) : dir;
  return { runDir, step: await bestStepOf(runDir) ?? Infinity };
}

/** The step that the final weights are of, where that is not the last. */
async function bestStepOf(runDir: string): Promise<number | null> {
  const path = join(runDir, BEST_MODEL_FILE);
  const text = await readIfThere(path, "read the best step from");
  if (text === null) return null;
  let step: unknown;
  try {
    const json: unknown = JSON.parse(text);
    step = isJsonObject(json) ? json.step : undefined;
  } catch {
    step = undefined;
  }
  if (Number.isSafeInteger(step)) return step as number;
  throw formatError(path, `required {"step": N}, got "${text.slice(0, 60)}"; remove the file`);
}

/** lambda/value, or lambda/NAME/value of several costs. */
function lambdasIn(row: MetricRow): Map<string | null, number> {
  return new Map(
    Object.entries(row).flatMap(([key, value]) => {
      const [is, name = null] = /^lambda\/(?:(.+)\/)?value$/.exec(key) ?? [];
      return is === undefined ? [] : [[name, value] as const];
    }),
  );
}

/**
 * Step and lambdas of a run's folder, of a checkpoint in it, or of its merged model; null for any other model.
 * @throws SyntaxError when the run's log is broken
 * @throws Error when it cannot be read
 */
export async function trainedModel(name: string): Promise<TrainedModel | null> {
  const { runDir, step } = await runOf(resolve(name));
  const path = join(runDir, "metrics.jsonl");
  const text = await readIfThere(path, "read the run's log");
  if (text === null) return null;
  const last = parseMetrics(text, path).findLast((row) => row.step <= step && lambdasIn(row).size > 0);
  return last ? { step: last.step, lambdas: lambdasIn(last) } : null;
}
