/**
 * The replay log: what every iteration did to the weights, in as few bytes as noise made from counters allows. The
 * first line says which run it is of; each that follows has the seeds and coefficients of an iteration, and what else a
 * run goes on from. It is appended to after every iteration, so that a run that was killed loses the one in progress
 * alone.
 */
import { z } from "zod";
import { parsedJson } from "../../config/parsed_json.ts";
import type { ResumeIdentity } from "../../config/resume.ts";
import { formatError } from "../../io/files/errors.ts";
import { isThere } from "../../io/files/presence.ts";
import { readText } from "../../io/files/whole_file.ts";
import { ES_NOISES, type EsNoise } from "../../rl/es.ts";
import type { Progress } from "../generation_batch.ts";
import type { RunInputs } from "../run_inputs.ts";
import { IdentityShape, ProgressShape } from "../saved_state.ts";

/** The first line. */
export interface ReplayStart {
  readonly step: 0;
  noise: EsNoise;
  sigma: number;
  identity: ResumeIdentity;
  settings: ResumeIdentity;
  inputs: RunInputs;
}

/** A line of an iteration. */
export interface ReplayRow {
  readonly step: number;
  /** Of the noise, u32, in the order in which it is added. */
  seeds: number[];
  /** What each is multiplied by, exact in f32. Empty, as seeds: the iteration moved nothing. */
  coefficients: number[];
  progress: Progress;
  /** Scores of the unperturbed policy's completions. */
  rewards: number[];
  costs: number[];
}

const u32 = z.int().min(0).max(2 ** 32 - 1);

const StartShape = IdentityShape.extend({ step: z.literal(0), noise: z.enum(ES_NOISES), sigma: z.number() });

const RowShape = z.strictObject({
  step: z.int().min(1),
  seeds: z.array(u32),
  coefficients: z.array(z.number()),
  progress: ProgressShape,
  rewards: z.array(z.number()),
  costs: z.array(z.number()),
}).refine(({ seeds, coefficients }) => seeds.length === coefficients.length, {
  message: "it must hold as many coefficients as seeds",
}).refine(({ rewards, costs }) => rewards.length === costs.length, {
  message: "it must hold as many costs as rewards",
}).refine(({ step, progress }) => step === progress.step, { message: "its progress must be of its step" });

export interface ReplayLog {
  start: ReplayStart;
  /** In the order of their steps. */
  rows: ReplayRow[];
}

/**
 * Reads a replay log; a last line without its newline is what a kill left behind, and is skipped.
 * @returns null where there is none, or it holds no whole line
 * @throws Error when a line is not as it was written; it names file and line
 */
export async function readReplayLog(path: string): Promise<ReplayLog | null> {
  if (!await isThere(path)) return null;
  const lines = (await readText(path, "read")).split("\n").slice(0, -1);
  if (lines.length === 0) return null;
  const parse = <T>(shape: z.ZodType<T>, line: string, index: number): T => {
    let value: unknown;
    try {
      value = parsedJson(line);
    } catch {
      value = undefined;
    }
    const { success, data, error } = shape.safeParse(value);
    if (success) return data;
    const [{ path: key, message }] = error.issues;
    throw formatError(
      path,
      `line ${index + 1}: ${
        key.length > 0 ? `${key.join(".")}: ` : ""
      }${message}; it is damaged, or of another version ` +
        "of this program: set resume=false to start over, which keeps this folder aside",
    );
  };
  const start = parse(StartShape, lines[0], 0);
  return { start, rows: lines.slice(1).map((line, i) => parse(RowShape, line, i + 1)) };
}
