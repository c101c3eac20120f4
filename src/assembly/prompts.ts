/** The run's prompts as the policy reads them, and how long they are. */
import type { RunConfig } from "../config/sweep.ts";
import { ownFile } from "../io/files/own_files.ts";
import { fetchSplit, isCachedSplit } from "../io/hub/dataset.ts";
import { isDatasetName, parseDatasetName } from "../io/hub/dataset_files.ts";
import { type FormatSettings, openPromptFormat, type PromptFormat } from "../io/prompts/prompt_format.ts";
import { type PromptRow, readPrompts } from "../io/prompts/prompts.ts";
import type { Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { encodePrompts, type Prompt } from "../train/prompts.ts";
import { textSha256 } from "../io/files/sha256.ts";
import type { PromptSetIdentity } from "../train/run_inputs.ts";
import type { AssemblyEvents, LoadingEvents } from "./events.ts";
import { hubSettings } from "./hub.ts";
import { loadTokenizerOf } from "./models.ts";

export interface RunPrompts {
  tokenizer: Tokenizer;
  prompts: Prompt[];
  evalPrompts: Prompt[] | null;
  /** What both were read from. */
  sources: { train: PromptSetIdentity; eval: PromptSetIdentity | null };
  /** What stands around the prompts, in words. */
  promptFormat: string;
}

/** Rows of a program's own, in the place of the files that the settings name. */
export interface GivenRows {
  train?: readonly PromptRow[];
  eval?: readonly PromptRow[];
}

/** Of the settings, what says how prompts are read. */
export type PromptSettings = Pick<
  RunConfig,
  | "prompt_key"
  | "skip_bad_rows"
  | "max_prompt_length"
  | "chat_template"
  | "system_prompt"
  | "chat_template_kwargs"
>;

type MessageEvents = LoadingEvents & Pick<AssemblyEvents, "onMessage">;

/** The run's prompts as the policy reads them. */
export async function loadPrompts(
  config: RunConfig,
  events: MessageEvents = {},
  given: GivenRows = {},
): Promise<RunPrompts> {
  const tokenizer = await loadTokenizerOf(config.model_name, events);
  const format = await promptFormatOf(tokenizer, config);
  const train = given.train ?? config.train_jsonl;
  const evaluated = given.eval ?? config.eval_jsonl;
  const trainSet = await loadPromptSet(train, format, config, { maxSamples: config.max_samples, events });
  const evalSet = evaluated === null ? null : await loadPromptSet(evaluated, format, config, { events });
  for (const notice of format.notices()) events.onMessage?.(notice);
  return {
    tokenizer,
    prompts: trainSet.prompts,
    evalPrompts: evalSet && evalSet.prompts,
    sources: {
      train: { name: nameOf(train), sha256: trainSet.sha256 },
      eval: evalSet && { name: nameOf(evaluated!), sha256: evalSet.sha256 },
    },
    promptFormat: format.description,
  };
}

const nameOf = (source: string | readonly PromptRow[]) =>
  typeof source === "string" ? source : `${source.length} rows of the program`;

/** The prompts of an evaluation, with the tokenizer that is loaded. */
export async function loadEvalPrompts(
  source: string | readonly PromptRow[],
  tokenizer: Tokenizer,
  config: PromptSettings,
  events: MessageEvents = {},
): Promise<Prompt[]> {
  return (await loadPromptSet(source, await promptFormatOf(tokenizer, config), config, { events })).prompts;
}

/** What the settings put around prompts. */
export const promptFormatOf = (tokenizer: Tokenizer, config: PromptSettings): Promise<PromptFormat> =>
  openPromptFormat(tokenizer, formatSettings(config));

const formatSettings = (config: PromptSettings): FormatSettings => ({
  chatTemplate: config.chat_template,
  systemPrompt: config.system_prompt,
  templateKwargs: config.chat_template_kwargs,
});

/** The files of a prompt set: one that is here, or those of a split on the hub. */
export async function promptFiles(name: string, events: LoadingEvents = {}): Promise<string[]> {
  if (!isDatasetName(name)) return [ownFile(name)];
  const watcher = events.onBytes?.("downloading");
  try {
    return await fetchSplit(parseDatasetName(name), await hubSettings(process.env), watcher?.update);
  } finally {
    watcher?.close();
  }
}

/** Whether a prompt set can be read without a download. */
export const isPromptSetHere = async (name: string) =>
  !isDatasetName(name) || await isCachedSplit(parseDatasetName(name), await hubSettings(process.env));

interface SetOptions {
  /** null for all. */
  maxSamples?: number | null;
  events: MessageEvents;
}

/** A prompt set, and the hash of what it was read from: of a file its bytes', as sha256sum has it. */
interface PromptSet {
  prompts: Prompt[];
  sha256: string;
}

/** Of one file its own, of several that of all of them. */
const hashOfAll = (hashes: readonly string[]) =>
  hashes.length === 1 ? hashes[0] : textSha256(hashes.join("\n"));

/** @throws Error when a row cannot be used and may not be skipped, or none is left */
async function loadPromptSet(
  source: string | readonly PromptRow[],
  format: PromptFormat,
  config: PromptSettings,
  { maxSamples, events }: SetOptions,
): Promise<PromptSet> {
  const problems: Error[] = [];
  const hashes: string[] = [];
  const onBadRow = config.skip_bad_rows ? (problem: Error) => void problems.push(problem) : undefined;
  const isNamed = typeof source === "string";
  const rows = isNamed
    ? await readPrompts(await promptFiles(source, events), {
      promptKey: config.prompt_key,
      maxSamples: maxSamples ?? undefined,
      onBadRow,
      onSha256: (sha256) => hashes.push(sha256),
    })
    : source.slice(0, maxSamples ?? undefined);
  const what = isNamed ? `'${source}'` : "the given prompts";
  const prompts = encodePrompts(format, rows, { maxPromptLength: config.max_prompt_length, onBadRow });
  if (prompts.length === 0) {
    throw new Error(
      `Cannot use ${what}: of its ${problems.length} rows none is left; ${problems[0].message}`,
    );
  }
  if (problems.length > 0) {
    const rowsWere = problems.length === 1 ? "row was" : "rows were";
    events.onMessage?.(
      `${what}: ${problems.length} bad ${rowsWere} skipped. The first: ${problems[0].message}`,
    );
  }
  return { prompts, sha256: isNamed ? hashOfAll(hashes) : textSha256(rowsText(rows)) };
}

/** Rows that a program gave, as they are told apart. */
const rowsText = (rows: readonly PromptRow[]) =>
  JSON.stringify(
    rows.map(({ prompt, columns }) => [prompt, columns]),
    (_, value) => typeof value === "bigint" ? String(value) : value,
  );

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

/** Tokens of the longest sequence that a run with these settings can make. */
export const longestSequence = (
  { longestPrompt, longestEvalPrompt }: PromptLengths,
  config: Pick<RunConfig, "max_completion_length">,
): number => Math.max(longestPrompt, longestEvalPrompt) + config.max_completion_length;

export const promptLengths = async (config: RunConfig, events: LoadingEvents = {}) =>
  lengthsOf(await loadPrompts(config, events));
