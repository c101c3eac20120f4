/** The run's prompts as the policy reads them, and how long they are. */
import type { RunConfig } from "../config/sweep.ts";
import { readPrompts } from "../io/prompts/prompts.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { encodePrompts, type Prompt } from "../train/prompts.ts";
import type { LoadingEvents } from "./events.ts";
import { loadTokenizerOf } from "./models.ts";

export interface RunPrompts {
  tokenizer: Tokenizer;
  prompts: Prompt[];
  evalPrompts: Prompt[] | null;
}

/** The run's prompts as the policy reads them. */
export async function loadPrompts(config: RunConfig, events: LoadingEvents = {}): Promise<RunPrompts> {
  const tokenizer = await loadTokenizerOf(config.model_name, events);
  const encode = async (path: string, maxSamples?: number) =>
    encodePrompts(
      tokenizer,
      await readPrompts(path, { promptKey: config.prompt_key, maxSamples }),
      config.max_prompt_length,
    );
  return {
    tokenizer,
    prompts: await encode(config.train_jsonl, config.max_samples ?? undefined),
    evalPrompts: config.eval_jsonl === null ? null : await encode(config.eval_jsonl),
  };
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
