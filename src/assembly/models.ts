/** Puts policies from disk or a hub on the GPU: where file formats (io) and the transformer (policy) meet. */
import { shortJson } from "../config/parsed_json.ts";
import type { RunConfig } from "../config/sweep.ts";
import { basename, join, resolve } from "node:path";
import { isThere } from "../io/files/presence.ts";
import { type AdapterFolder, openAdapterFolder } from "../io/model/adapter_folder.ts";
import { describeModel } from "../io/model/config_text.ts";
import { GENERATION_CONFIG, readGenerationEnds } from "../io/model/generation_config.ts";
import {
  type ModelFolder,
  type OpeningOptions,
  openModelFolder,
  readConfig,
} from "../io/model/model_folder.ts";
import { loadTokenizer, type Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { makeTrunk } from "../policy/transformer.ts";
import type { Policy } from "../policy/trunk.ts";
import type { ModelConfig } from "../policy/families/family.ts";
import { parseModelConfig } from "../policy/model_config.ts";
import { givesScores } from "../policy/score_config.ts";
import { assertFiniteSource } from "../policy/nonfinite.ts";
import { disposeWeights, type Holding, listWeights, loadPolicyWeights } from "../policy/weights.ts";
import { type AdapterSettings, baseModelOf, makeAdapters } from "./adapters.ts";
import { type EndToken, endTokens } from "./ends.ts";
import type { LoadingEvents } from "./events.ts";
import { type ResolvedModel, resolveModel } from "./hub.ts";

export interface LoadedPolicy {
  policy: Policy;
  tokenizer: Tokenizer;
  /** The model; where an adapter was loaded, the one under it. */
  base: ResolvedModel;
  /** The folder of the adapter that was loaded over it; null for none. */
  adapterDir: string | null;
  /** config.json as it was read. */
  configText: string;
  /** Where its completions end. */
  ends: EndToken[];
  /** Absolute paths of the files that go with it beside weights and config: tokenizer, generation_config.json. */
  files: readonly string[];
}

/** What a name stands for: a model, or an adapter's folder over its base model. */
interface NamedModel {
  base: ResolvedModel;
  adapterFolder: AdapterFolder | null;
  /** Where the tokenizer is: an adapter may bring its own. */
  tokenizerDir: string;
}

/** Finds the model of a name (a folder, a hub id, or the folder of an adapter) for as long as `use` runs. */
export async function withModel<R>(
  name: string,
  use: (model: NamedModel) => Promise<R>,
  events: LoadingEvents = {},
): Promise<R> {
  const adapterFolder = await openAdapterFolder(name);
  try {
    const base = await resolveModel(adapterFolder ? await baseModelOf(adapterFolder) : name, events);
    await configOf(base.dir);
    return await use({ base, adapterFolder, tokenizerDir: adapterFolder?.hasTokenizer ? name : base.dir });
  } finally {
    await adapterFolder?.close();
  }
}

/** What config.json says, read before any other file is looked for. @throws TypeError when it is not supported */
async function configOf(dir: string): Promise<ModelConfig> {
  const path = join(dir, "config.json");
  return parsePolicyConfig(describeModel(await readConfig(dir), path).text, path);
}

/** What config.json says of a model that writes. @throws TypeError when it is not supported, or gives scores */
export function parsePolicyConfig(text: string, path: string): ModelConfig {
  const config = parseModelConfig(text, path);
  const json = JSON.parse(text) as Record<string, unknown>;
  if (!givesScores(json)) return config;
  const { architectures, score_type } = json;
  throw new TypeError(
    `${path}: a model that writes text is required, got one that gives scores (architectures ` +
      `${shortJson(architectures)}, score_type ${shortJson(score_type)}); give it as reward_model or ` +
      "cost_model, and a causal language model as model_name",
  );
}

/** The tokenizer that a policy goes with. */
export function loadTokenizerOf(name: string, events: LoadingEvents = {}): Promise<Tokenizer> {
  return withModel(name, ({ base, tokenizerDir }) => tokenizerFor(base.dir, tokenizerDir), events);
}

/** A tokenizer none of whose ids lies beyond the rows of the model in `dir`, where these were added to it alone. */
async function tokenizerFor(dir: string, tokenizerDir: string): Promise<Tokenizer> {
  return await loadTokenizer(tokenizerDir, (await configOf(dir)).vocabSize);
}

function sayLeftOut({ leftOut }: Tokenizer, { onMessage }: LoadingEvents): void {
  if (leftOut.length === 0) return;
  const tokens = leftOut.slice(0, 3).map(({ id, content }) => `${content} (${id})`).join(", ");
  const more = leftOut.length > 3 ? ` and ${leftOut.length - 3} more` : "";
  onMessage?.(
    `The model has no row for ${tokens}${more}, which were added to its tokenizer: they are plain text here`,
  );
}

/** What is said where a run of whole weights is to begin from the adapter in the folder `name`. */
export function adapterNeedsPeft(name: string): RangeError {
  return new RangeError(
    `Cannot train all weights from '${name}', which is an adapter; set use_peft to train the adapter on, or ` +
      "model_name to a whole model",
  );
}

/** How the weights that a run trains are held. */
export const holdingOf = ({ algorithm, dtype }: Pick<RunConfig, "algorithm" | "dtype">): Holding =>
  algorithm === "es" ? "perturbed" : dtype;

export interface LoadingOptions {
  /** Given: the adapter is trained, and not the weights under it. */
  adapter?: AdapterSettings | null;
  /** The policy's, where it is loaded already. */
  tokenizer?: Tokenizer;
  /** eos_token_ids of the settings; null for those of the model's files. */
  eosTokenIds?: readonly number[] | null;
  /** Tokens of the longest sequence it will be run on; all that the model has unless given. */
  mostPositions?: number;
  events?: LoadingEvents;
}

/**
 * Loads a causal language model and its tokenizer.
 * @param name a folder, a hub id, or the folder of an adapter
 * @param holding "frozen" to evaluate it, else how its weights are trained
 * @throws RangeError when an adapter would be trained as a whole model, or the tokenizer knows more tokens than the
 * model
 * @throws Error when file and tensors, which it names, do not fit
 */
export function loadPolicy(
  name: string,
  holding: Holding,
  { adapter = null, tokenizer: given, eosTokenIds = null, mostPositions, events = {} }: LoadingOptions = {},
): Promise<LoadedPolicy> {
  const load = async ({ base, adapterFolder, tokenizerDir }: NamedModel) => {
    if (adapterFolder && holding !== "frozen" && !adapter) {
      throw adapterNeedsPeft(name);
    }
    const tokenizer = given ?? await tokenizerFor(base.dir, tokenizerDir);
    sayLeftOut(tokenizer, events);
    const options = { tokenizer, eosTokenIds, mostPositions, events };
    const trunk = await loadTrunk(base.dir, adapter ? "frozen" : holding, options);
    const { policy, configText, ends } = trunk;
    const adapters = await makeAdapters(policy.weights, adapterFolder, adapter, policy.config);
    const files = await carriedFiles(base.dir, tokenizer.files);
    const adapterDir = adapterFolder && adapterFolder.dir;
    return { policy: { ...policy, adapters }, tokenizer, base, adapterDir, configText, ends, files };
  };
  return withModel(name, load, events);
}

/**
 * Loads a model's folder alone: no adapter.
 * @param tokenizer given: it must fit the model, and names an end of completions beside the model's files
 * @throws RangeError when the tokenizer knows more tokens than the model, or no completion could end
 * @throws NonfinitePolicyError when weights are infinite or NaN
 * @throws Error when file and tensors, which it names, do not fit
 */
export async function loadTrunk(
  dir: string,
  holding: Holding,
  { tokenizer, eosTokenIds = null, mostPositions, events = {} }: Omit<LoadingOptions, "adapter"> = {},
): Promise<{ policy: Policy; configText: string; ends: EndToken[] }> {
  const folder = await openWatchedFolder(dir, events);
  try {
    const config = parseModelConfig(folder.configText, folder.configPath);
    if (tokenizer && tokenizer.vocabSize > config.vocabSize) {
      throw new RangeError(
        `${dir}: the tokenizer knows ${tokenizer.vocabSize} tokens, config.json's vocab_size is ` +
          `${config.vocabSize}; take tokenizer and weights from the same model`,
      );
    }
    const ends = tokenizer ? await endsOf(dir, config, { tokenizer, eosTokenIds, events }) : [];
    const eosIds = tokenizer ? ends.map(({ id }) => id) : config.eosIds;
    const weights = await loadPolicyWeights(folder.source, config, holding);
    await assertFiniteSource(folder.source, listWeights(weights)).catch((error) => {
      disposeWeights(listWeights(weights));
      throw error;
    });
    const policy = makeTrunk({ ...config, eosIds }, weights, mostPositions);
    return { policy, configText: folder.configText, ends };
  } finally {
    await folder.close();
  }
}

/**
 * Where the completions of the model in `dir` end.
 * @throws RangeError when eosTokenIds holds an id beyond the vocabulary, or no completion could end
 * @throws Error when generation_config.json, which it names, is broken
 */
export async function endsOf(
  dir: string,
  config: Pick<ModelConfig, "eosIds" | "vocabSize">,
  { tokenizer, eosTokenIds = null, events = {} }:
    & Pick<LoadingOptions, "eosTokenIds" | "events">
    & { tokenizer: Tokenizer },
): Promise<EndToken[]> {
  const named = new Map([["config.json", config.eosIds], [GENERATION_CONFIG, await readGenerationEnds(dir)]]);
  const { vocabSize } = config;
  return endTokens({ wanted: eosTokenIds, named, tokenizer, vocabSize, onMessage: events.onMessage });
}

/** A tokenizer's files, and the model's generation_config.json where the tokenizer lies elsewhere. */
async function carriedFiles(dir: string, files: readonly string[]): Promise<string[]> {
  const path = join(resolve(dir), GENERATION_CONFIG);
  const isCarried = files.some((file) => basename(file) === GENERATION_CONFIG);
  return !isCarried && await isThere(path) ? [...files, path] : [...files];
}

/** A model's folder that tells how its weights come in. @param accept as of OpeningOptions */
export async function openWatchedFolder(
  dir: string,
  events: LoadingEvents,
  accept: OpeningOptions["accept"] = parseModelConfig,
): Promise<ModelFolder> {
  let doneBytes = 0;
  const onBytes = (count: number) => {
    doneBytes += count;
    watcher?.update({ id: dir, doneBytes, totalBytes: folder.source.totalBytes });
  };
  const folder = await openModelFolder(dir, { onBytes, accept });
  const watcher = events.onBytes?.("loading");
  const close = async () => {
    watcher?.close();
    await folder.close();
  };
  return { ...folder, close };
}
