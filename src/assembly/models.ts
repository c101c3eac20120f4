/** Puts policies from disk or a hub on the GPU: where file formats (io) and the transformer (policy) meet. */
import { join } from "node:path";
import { type AdapterFolder, openAdapterFolder } from "../io/model/adapter_folder.ts";
import { describeModel } from "../io/model/config_text.ts";
import {
  type ModelFolder,
  type OpeningOptions,
  openModelFolder,
  readConfig,
} from "../io/model/model_folder.ts";
import { loadTokenizer, type Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { makeTrunk } from "../policy/llama.ts";
import type { Policy } from "../policy/trunk.ts";
import { parseModelConfig } from "../policy/model_config.ts";
import { type Holding, loadPolicyWeights } from "../policy/weights.ts";
import { type AdapterSettings, baseModelOf, makeAdapters } from "./adapters.ts";
import type { LoadingEvents } from "./events.ts";
import { type ResolvedModel, resolveModel } from "./hub.ts";

export interface LoadedPolicy {
  policy: Policy;
  tokenizer: Tokenizer;
  /** The model; where an adapter was loaded, the one under it. */
  base: ResolvedModel;
  /** config.json as it was read. */
  configText: string;
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
    await assertSupported(base.dir);
    return await use({ base, adapterFolder, tokenizerDir: adapterFolder?.hasTokenizer ? name : base.dir });
  } finally {
    await adapterFolder?.close();
  }
}

/** Refuses a model by its config.json, before any other file is looked for. */
async function assertSupported(dir: string): Promise<void> {
  const path = join(dir, "config.json");
  parseModelConfig(describeModel(await readConfig(dir), path).text, path);
}

/** The tokenizer that a policy goes with. */
export function loadTokenizerOf(name: string, events: LoadingEvents = {}): Promise<Tokenizer> {
  return withModel(name, ({ tokenizerDir }) => loadTokenizer(tokenizerDir), events);
}

export interface LoadingOptions {
  /** Given: the adapter is trained, and not the weights under it. */
  adapter?: AdapterSettings | null;
  /** The policy's, where it is loaded already. */
  tokenizer?: Tokenizer;
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
  { adapter = null, tokenizer: given, events = {} }: LoadingOptions = {},
): Promise<LoadedPolicy> {
  const load = async ({ base, adapterFolder, tokenizerDir }: NamedModel) => {
    if (adapterFolder && holding !== "frozen" && !adapter) {
      throw new RangeError(
        `Cannot train all weights from '${name}', which is an adapter; set use_peft to train the adapter on, or ` +
          "model_name to a whole model",
      );
    }
    const tokenizer = given ?? await loadTokenizer(tokenizerDir);
    const trunk = await loadTrunk(base.dir, adapter ? "frozen" : holding, { tokenizer, events });
    const { policy, configText } = trunk;
    const adapters = await makeAdapters(policy.weights, adapterFolder, adapter, policy.config);
    return { policy: { ...policy, adapters }, tokenizer, base, configText };
  };
  return withModel(name, load, events);
}

/**
 * Loads a model's folder alone: no adapter.
 * @param tokenizer given: it must fit the model, and its EOS ends completions where config.json names no end
 * @throws RangeError when the tokenizer knows more tokens than the model
 * @throws Error when file and tensors, which it names, do not fit
 */
export async function loadTrunk(
  dir: string,
  holding: Holding,
  { tokenizer, events = {} }: Pick<LoadingOptions, "tokenizer" | "events"> = {},
): Promise<{ policy: Policy; configText: string }> {
  const folder = await openWatchedFolder(dir, events);
  try {
    const config = parseModelConfig(folder.configText, folder.configPath);
    if (tokenizer && tokenizer.vocabSize > config.vocabSize) {
      throw new RangeError(
        `${dir}: the tokenizer knows ${tokenizer.vocabSize} tokens, config.json's vocab_size is ` +
          `${config.vocabSize}; take tokenizer and weights from the same model`,
      );
    }
    const eosIds = config.eosIds.length > 0 || !tokenizer ? config.eosIds : [tokenizer.eosId];
    const weights = await loadPolicyWeights(folder.source, config, holding);
    return { policy: makeTrunk({ ...config, eosIds }, weights), configText: folder.configText };
  } finally {
    await folder.close();
  }
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
