/** Puts models from disk on the GPU: where file formats (io) and the transformer (policy) meet. */
import { openModelFolder } from "../io/model_folder.ts";
import { loadTokenizer, type Tokenizer } from "../io/tokenizer.ts";
import { makeTrunk, type Policy } from "../policy/llama.ts";
import { parseModelConfig } from "../policy/model_config.ts";
import {
  disposeScoreModel,
  loadScoreModel,
  parseScoreConfig,
  type ScoreModel,
  scoreSequences,
} from "../policy/score_model.ts";
import { loadPolicyWeights } from "../policy/weights.ts";
import type { ScoreTexts } from "../scorer/protocol.ts";

export interface LoadedPolicy {
  policy: Policy;
  tokenizer: Tokenizer;
  /** config.json as it was read. */
  configText: string;
}

/** Loads a causal language model and its tokenizer. @throws Error naming file and tensor for what does not fit */
export async function loadPolicy(dir: string, trainable: boolean): Promise<LoadedPolicy> {
  const folder = await openModelFolder(dir);
  try {
    const config = parseModelConfig(folder.configText, folder.configPath);
    const tokenizer = await loadTokenizer(dir);
    if (tokenizer.vocabSize > config.vocabSize) {
      throw new RangeError(
        `${dir}: the tokenizer knows ${tokenizer.vocabSize} tokens, config.json's vocab_size is ${config.vocabSize}; ` +
          "take tokenizer and weights from the same model",
      );
    }
    const eosIds = config.eosIds.length > 0 ? config.eosIds : [tokenizer.eosId];
    const weights = await loadPolicyWeights(folder.source, config, trainable);
    return { policy: makeTrunk({ ...config, eosIds }, weights), tokenizer, configText: folder.configText };
  } finally {
    await folder.close();
  }
}

interface LoadedScoreModel {
  model: ScoreModel;
  tokenizer: Tokenizer;
}

async function loadScorer(dir: string, type: "reward" | "cost"): Promise<LoadedScoreModel> {
  const folder = await openModelFolder(dir);
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

/** Loads reward and cost model. @throws Error naming file and tensor for what does not fit */
export async function loadScorers(
  rewardDir: string,
  costDir: string,
  maxLength: number,
): Promise<LoadedScorers> {
  const reward = await loadScorer(rewardDir, "reward");
  const cost = await loadScorer(costDir, "cost");
  const scoresOf = ({ model, tokenizer }: LoadedScoreModel, texts: readonly string[]) => {
    const longest = Math.min(maxLength, model.trunk.config.maxPositions);
    return scoreSequences(model, texts.map((text) => conversationIds(tokenizer, text, longest)));
  };
  return {
    scoreTexts: async (texts) => ({
      rewards: await scoresOf(reward, texts),
      costs: await scoresOf(cost, texts),
    }),
    dispose() {
      disposeScoreModel(reward.model);
      disposeScoreModel(cost.model);
    },
  };
}
