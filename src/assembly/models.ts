/** Puts models from disk or a hub on the GPU: where file formats (io) and the transformer (policy) meet. */
import { type AdapterFolder, openAdapterFolder } from "../io/model/adapter_folder.ts";
import { type ModelFolder, openModelFolder } from "../io/model/model_folder.ts";
import { loadTokenizer, type Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { makeTrunk } from "../policy/llama.ts";
import type { Policy } from "../policy/trunk.ts";
import { parseModelConfig } from "../policy/model_config.ts";
import {
  disposeScoreModel,
  loadScoreModel,
  parseScoreConfig,
  type ScoreModel,
  scoreSequences,
} from "../policy/score_model.ts";
import { type Holding, loadPolicyWeights } from "../policy/weights.ts";
import type { ScoreTexts } from "../scorer/protocol.ts";
import { type AdapterSettings, baseModelOf, makeAdapters } from "./adapters.ts";
import { bytesProgress } from "../cli/terminal/bytes_progress.ts";
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
export async function withModel<R>(name: string, use: (model: NamedModel) => Promise<R>): Promise<R> {
  const adapterFolder = await openAdapterFolder(name);
  try {
    const base = await resolveModel(adapterFolder ? await baseModelOf(adapterFolder) : name);
    return await use({ base, adapterFolder, tokenizerDir: adapterFolder?.hasTokenizer ? name : base.dir });
  } finally {
    await adapterFolder?.close();
  }
}

/** The tokenizer that a policy goes with. */
export function loadTokenizerOf(name: string): Promise<Tokenizer> {
  return withModel(name, ({ tokenizerDir }) => loadTokenizer(tokenizerDir));
}

/**
 * Loads a causal language model and its tokenizer.
 * @param name a folder, a hub id, or the folder of an adapter
 * @param holding "frozen" to evaluate it, else how its weights are trained
 * @param adapter set: the adapter is trained, and not the weights under it
 * @param loaded its tokenizer, where that is loaded already
 * @throws Error naming file and tensor for what does not fit
 */
export function loadPolicy(
  name: string,
  holding: Holding,
  adapter: AdapterSettings | null = null,
  loaded?: Tokenizer,
): Promise<LoadedPolicy> {
  return withModel(name, async ({ base, adapterFolder, tokenizerDir }) => {
    if (adapterFolder && holding !== "frozen" && !adapter) {
      throw new RangeError(
        `Cannot train all weights from '${name}', which is an adapter; set use_peft to train the adapter on, or ` +
          "model_name to a whole model",
      );
    }
    const tokenizer = loaded ?? await loadTokenizer(tokenizerDir);
    const { policy, configText } = await loadWholeModel(base.dir, adapter ? "frozen" : holding, tokenizer);
    const adapters = await makeAdapters(policy.weights, adapterFolder, adapter, policy.config);
    return { policy: { ...policy, adapters }, tokenizer, base, configText };
  });
}

async function loadWholeModel(dir: string, holding: Holding, tokenizer: Tokenizer) {
  const folder = await openShownFolder(dir);
  try {
    const config = parseModelConfig(folder.configText, folder.configPath);
    if (tokenizer.vocabSize > config.vocabSize) {
      throw new RangeError(
        `${dir}: the tokenizer knows ${tokenizer.vocabSize} tokens, config.json's vocab_size is ${config.vocabSize}; ` +
          "take tokenizer and weights from the same model",
      );
    }
    const eosIds = config.eosIds.length > 0 ? config.eosIds : [tokenizer.eosId];
    const weights = await loadPolicyWeights(folder.source, config, holding);
    return { policy: makeTrunk({ ...config, eosIds }, weights), configText: folder.configText };
  } finally {
    await folder.close();
  }
}

/** Loads below this are over before they are read about. */
const SHOWN_BYTES = 1e8;

/** A model's folder that shows how its weights come in, where these are many. */
async function openShownFolder(dir: string): Promise<ModelFolder> {
  const progress = bytesProgress(process.stdout, () => performance.now(), "loading");
  let doneBytes = 0;
  const folder = await openModelFolder(dir, (count) => {
    const { totalBytes } = folder.source;
    doneBytes += count;
    if (totalBytes >= SHOWN_BYTES) progress.update({ id: dir, doneBytes, totalBytes });
  });
  const close = async () => {
    progress.close();
    await folder.close();
  };
  return { ...folder, close };
}

interface LoadedScoreModel {
  model: ScoreModel;
  tokenizer: Tokenizer;
}

async function loadScorer(name: string, type: "reward" | "cost"): Promise<LoadedScoreModel> {
  const { dir } = await resolveModel(name);
  const folder = await openShownFolder(dir);
  try {
    const config = parseScoreConfig(folder.configText, folder.configPath);
    if (config.type !== type) {
      throw new TypeError(
        `${dir}: config.json says score_type "${config.type}", need "${type}"; are reward_model and cost_model swapped?`,
      );
    }
    return { model: await loadScoreModel(folder.source, config), tokenizer: await loadTokenizer(dir) };
  } finally {
    await folder.close();
  }
}

/**
 * Ids of a conversation as the score models read it: BOS, the text, one EOS (also where the text ends with one
 * already). Too long: the end of the answer is cut,
 * the EOS stays, since the score is read there.
 */
export function conversationIds(tokenizer: Tokenizer, text: string, maxLength: number): number[] {
  const bos = tokenizer.bosId === undefined ? [] : [tokenizer.bosId];
  const eosText = tokenizer.decode([tokenizer.eosId]);
  const body = eosText !== "" && text.endsWith(eosText) ? text.slice(0, -eosText.length) : text;
  const ids = [...bos, ...tokenizer.encodeWithoutSpecial(body)].slice(0, maxLength - 1);
  return [...ids, tokenizer.eosId];
}

/** Reward and cost model on the GPU, as a scorer service serves them. */
export interface LoadedScorers {
  scoreTexts: ScoreTexts;
  dispose(): void;
}

/** Loads reward and cost model, folders or hub ids. @throws Error naming file and tensor for what does not fit */
export async function loadScorers(
  rewardName: string,
  costName: string,
  maxLength: number,
): Promise<LoadedScorers> {
  const reward = await loadScorer(rewardName, "reward");
  const cost = await loadScorer(costName, "cost");
  const scoresOf = ({ model, tokenizer }: LoadedScoreModel, texts: readonly string[]) => {
    const longest = Math.min(maxLength, model.trunk.config.maxPositions);
    return scoreSequences(model, texts.map((text) => conversationIds(tokenizer, text, longest)));
  };
  return {
    async scoreTexts(texts) {
      // Together: the cost model's texts are tokenized while the GPU runs the reward model.
      const [rewards, costs] = await Promise.all([scoresOf(reward, texts), scoresOf(cost, texts)]);
      return { rewards, costs };
    },
    dispose() {
      disposeScoreModel(reward.model);
      disposeScoreModel(cost.model);
    },
  };
}
