/** The run's prompts as the policy reads them, and how long they are. */
import type { RunConfig } from "../config/sweep.ts";
import { ownFile } from "../io/files/own_files.ts";
import { type PromptRow, readPrompts } from "../io/prompts/prompts.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { encodePrompts, type Prompt } from "../train/prompts.ts";
import type { LoadingEvents } from "./events.ts";
import { loadTokenizerOf } from "./models.ts";

export interface RunPrompts {
  tokenizer: Tokenizer;
  prompts: Prompt[];
  evalPrompts: Prompt[] | null;
}

/** Rows of a program's own, in the place of the files that the settings name. */
export interface GivenRows {
  train?: readonly PromptRow[];
  eval?: readonly PromptRow[];
}

/** The run's prompts as the policy reads them. */
export async function loadPrompts(
  config: RunConfig,
  events: LoadingEvents = {},
  given: GivenRows = {},
): Promise<RunPrompts> {
  const tokenizer = await loadTokenizerOf(config.model_name, events);
  const encode = (rows: readonly PromptRow[]) => encodePrompts(tokenizer, rows, config.max_prompt_length);
  const read = (path: string, maxSamples?: number) =>
    readPrompts(ownFile(path), { promptKey: config.prompt_key, maxSamples });
  const maxSamples = config.max_samples ?? undefined;
  const train = given.train?.slice(0, maxSamples) ?? await read(config.train_jsonl, maxSamples);
  const evaluated = given.eval ?? (config.eval_jsonl === null ? null : await read(config.eval_jsonl));
  return { tokenizer, prompts: encode(train), evalPrompts: evaluated && encode(evaluated) };
}

/** In tokens. */
export interface PromptLengths {
  longestPrompt: number;
  longestEvalPrompt: number;
  /** How many. */
  evalPrompts: number;
}

export function lengthsOf(
  { prompts, evalPrompts }: Pick<RunPrompts, "prompts" | "evalPrompts">,
): PromptLengths {
  const longest = (list: readonly Prompt[]) => list.reduce((most, { ids }) => Math.max(most, ids.length), 1);
  return {
    longestPrompt: longest(prompts),
    longestEvalPrompt: longest(evalPrompts ?? []),
    evalPrompts: evalPrompts?.length ?? 0,
  };
}

export const promptLengths = async (config: RunConfig, events: LoadingEvents = {}) =>
  lengthsOf(await loadPrompts(config, events));
