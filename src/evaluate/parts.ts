/** An evaluation batch by batch: what is done is kept, so that one that was killed goes on. */
import type { EvalPreset } from "../config/eval_presets.ts";
import type { RunConfig } from "../config/sweep.ts";
import { textSha256 } from "../io/files/sha256.ts";
import type { Judgements } from "../tracking/metrics.ts";
import { namedScores } from "../tracking/samples.ts";
import { type Answered, answerPrompts, combinedOf, type EvaluationDeps } from "./evaluate.ts";
import { categoryOf, loggedPoint, type Point } from "./points.ts";
import { openKeptRows } from "./kept_rows.ts";

/** Settings that completions or scores depend on, beside the files of models and prompts; a service may move. */
const ANSWER_SETTINGS = [
  "max_completion_length",
  "stop_strings",
  "eos_token_ids",
  "kv_cache_dtype",
  "matmul_precision",
  "scorer_api",
  "scorer_route",
  "scorer_input",
  "scorer_label_key",
  "scorer_max_length",
  "reward_label",
  "cost_label",
  "reward_functions",
  "cost_functions",
  "rewards",
  "costs",
] as const satisfies readonly (keyof RunConfig)[];

/** Of the settings, those that an evaluation of the same inputs must share. */
export const settingsOfAnswers = (config: RunConfig) => ANSWER_SETTINGS.map((key) => [key, config[key]]);

/** For JSON, which has no integers of 64 bits. */
export const bigintText = (_: string, value: unknown) => typeof value === "bigint" ? String(value) : value;

interface Parts {
  /** Points in all, and how many of them are made at once. */
  count: number;
  size: number;
  /** Those from `start` to before `end`. */
  make(start: number, end: number): Promise<Point[]>;
}

interface Kept {
  /** The file that keeps what is made; undefined where nothing is kept. */
  path: string | undefined;
  /** All that the points depend on. */
  inputs: unknown;
  onMessage?(text: string): void;
}

/**
 * Points made part by part, each kept; those of the same inputs that are there already are not made again.
 * @throws Error when the file cannot be read or written, or a part cannot be made
 */
export async function pointsInParts(
  { count, size, make }: Parts,
  { path, inputs, onMessage }: Kept,
): Promise<Point[]> {
  const log = path === undefined
    ? null
    : await openKeptRows(path, textSha256(JSON.stringify(inputs)), loggedPoint);
  try {
    const points = [...log?.kept ?? []];
    if (points.length > 0) {
      onMessage?.(`${points.length} of ${count} prompts are done; it goes on behind them`);
    }
    while (points.length < count) {
      const made = await make(points.length, Math.min(points.length + size, count));
      await log?.add(made);
      points.push(...made);
    }
    return points;
  } finally {
    log?.close();
  }
}

/** Prompts of a part: whole requests to the scorer out of whole batches of completions. */
const partSize = ({ eval_batch_size, scorer_batch_size_eval }: RunConfig) =>
  eval_batch_size * Math.ceil(scorer_batch_size_eval / eval_batch_size);

/** Greedy completions of prompts with their scores. @param scores what these are rounded to */
export async function evaluateInParts(
  deps: EvaluationDeps,
  { scores, ...kept }: Kept & { scores: EvalPreset["scores"] },
): Promise<Point[]> {
  const { prompts, config, onProgress } = deps;
  const make = async (start: number, end: number) => {
    const onPart = (done: number) => onProgress?.(start + done, prompts.length);
    return pointsOf(
      await answerPrompts({ ...deps, prompts: prompts.slice(start, end), onProgress: onPart }),
      scores,
    );
  };
  return await pointsInParts({ count: prompts.length, size: partSize(config), make }, kept);
}

function pointsOf({ answers, ended, scores, kls }: Answered, dtype: EvalPreset["scores"]): Point[] {
  return answers.map(({ prompt, completion, tokens, columns }, i) => ({
    prompt,
    response: completion,
    reward: rounded(scores.rewards[i], dtype),
    cost: rounded(scores.costs[i], dtype),
    ...(scores.named && { scores: namedScores(scores.named, i) }),
    tokens: tokens.length,
    clipped: ended[i].end === "length",
    fake_turn: ended[i].hasFakeTurn,
    ...(kls && { kl: kls[i] }),
    ...categoryOf(columns),
  }));
}

/** To the nearest number of the type, of two as near the even one, as PyTorch rounds. */
export function rounded(score: number, dtype: EvalPreset["scores"]): number {
  if (dtype === "float32") return score;
  const bits = new Uint32Array(Float32Array.of(score).buffer);
  bits[0] += 0x7fff + (bits[0] >>> 16 & 1);
  bits[0] &= 0xffff0000;
  return new Float32Array(bits.buffer)[0];
}

/** Scores of points, as a run's evaluation has them. @param lambdas one of each cost, in the order of the config */
export function judgementsOf(
  points: readonly Point[],
  config: RunConfig,
  lambdas: readonly number[],
): Judgements {
  const rewards = points.map(({ reward }) => reward);
  const costs = points.map(({ cost }) => cost);
  const names = Object.keys(points[0]?.scores ?? {});
  const valuesOf = (name: string) => points.map(({ scores }) => scores?.[name] ?? NaN);
  const named = names.length > 0
    ? Object.fromEntries(names.map((name) => [name, valuesOf(name)]))
    : undefined;
  return {
    rewards,
    costs,
    combined: combinedOf({ rewards, costs, named }, config, lambdas),
    ...(named && { named }),
  };
}
