/** Kept completions as tables of samples, token by token, for a report. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isFolder, isThere } from "../io/files/presence.ts";
import { loadTokenizer } from "../io/tokenizer/tokenizer.ts";
import { isSafe } from "../rl/quadrants.ts";
import { ENDS } from "../rl/ends.ts";
import { type RolloutRecord, stepsWithRollouts } from "../tracking/rollout_records.ts";
import type { SampleTable, TokenizedSample } from "../tracking/samples.ts";
import { evenlySpacedIndices, spread } from "../tracking/statistics.ts";
import { pieceTexts, tokenPieces } from "../tracking/token_pieces.ts";
import { readStepRollouts } from "./rollouts.ts";

/** Steps of a run, and completions of one of them: a page has room for no more. */
const MOST_STEPS = 8;
const MOST_OF_A_STEP = 100;

type TextOf = (ids: readonly number[]) => string;

/** Of folders that a tokenizer was read from: a served page is made anew at every step. */
const tokenizers = new Map<string, Promise<TextOf>>();

/**
 * Tables of the kept completions of some steps, the first and the last among them; none where none are kept.
 * @throws Error when a file of them, which it names, is not what a run writes
 */
export async function rolloutTables(
  runDir: string,
  config: Readonly<Record<string, unknown>>,
): Promise<SampleTable[]> {
  const steps = spread(await stepsWithRollouts(runDir), MOST_STEPS);
  const textOf = steps.length === 0 ? null : await pieceTextsOf(runDir, config);
  const tables: SampleTable[] = [];
  for (const step of steps) {
    const rollouts = await readStepRollouts(runDir, step);
    const shown = evenlySpacedIndices(rollouts.length, MOST_OF_A_STEP).map((index) => rollouts[index]);
    const samples = shown.map((rollout) => rolloutSample(rollout, textOf, runDir));
    tables.push({ split: "train", step, samples });
  }
  return tables;
}

/**
 * A kept completion as a sample.
 * @param textOf null where no tokenizer is there: then it has no tokens
 * @throws TypeError when the record is none; it names the run
 */
export function rolloutSample(
  rollout: RolloutRecord,
  textOf: TextOf | null,
  runDir: string,
): TokenizedSample {
  const { prompt, completion, end, length, advantage, scores, completion_ids: ids } = rollout;
  const isNumbers = (list: unknown) => Array.isArray(list) && list.every((one) => Number.isSafeInteger(one));
  const isWhole = [prompt, completion].every((text) => typeof text === "string") && ENDS.includes(end) &&
    isNumbers(ids) && ids.every((id) => id >= 0);
  if (!isWhole) {
    throw new TypeError(
      `Cannot show rollouts of '${runDir}': required prompt, completion, end and completion_ids of each, found a ` +
        `line of step ${rollout.step} without; remove its file, or train the step again`,
    );
  }
  // A score that was not given is null in the file.
  const [reward, cost, combined] = [rollout.reward, rollout.cost, rollout.combined].map((score) =>
    score ?? NaN
  );
  return {
    prompt,
    completion,
    reward,
    cost,
    combined,
    unsafe: !isSafe(cost),
    end,
    length,
    advantage,
    ...(scores && { scores }),
    ...(textOf && { tokens: tokenPieces(rollout, textOf) }),
  };
}

/** By the tokenizer that lies with the run, in a checkpoint of it, or with its model's folder; null without one. */
export async function pieceTextsOf(
  runDir: string,
  { model_name: model }: Readonly<Record<string, unknown>>,
): Promise<TextOf | null> {
  const checkpoints = (await readdir(runDir).catch(() => [])).filter((name) => /^checkpoint-\d+$/.test(name));
  const places = [runDir, ...checkpoints.map((name) => join(runDir, name))];
  if (typeof model === "string" && await isFolder(model)) places.push(model);
  for (const dir of places) {
    const has = await isThere(join(dir, "tokenizer.json")) || await isThere(join(dir, "tokenizer.model"));
    if (!has) continue;
    const known = tokenizers.get(dir) ?? textsBy(dir);
    tokenizers.set(dir, known);
    return await known;
  }
  return null;
}

async function textsBy(dir: string): Promise<TextOf> {
  const tokenizer = await loadTokenizer(dir);
  return pieceTexts((ids) => tokenizer.decode(ids), tokenizer.encodeWithoutSpecial("a"));
}
