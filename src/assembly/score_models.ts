/** Reward and cost model on the GPU, and how they read a conversation. */
import { loadTokenizer, type Tokenizer } from "../io/tokenizer/tokenizer.ts";
import {
  disposeScoreModel,
  loadScoreModel,
  parseScoreConfig,
  type ScoreModel,
  scoreSequences,
} from "../policy/score_model.ts";
import type { ScoreTexts } from "../scorer/protocol.ts";
import type { LoadingEvents } from "./events.ts";
import { resolveModel } from "./hub.ts";
import { openWatchedFolder } from "./models.ts";

interface LoadedScoreModel {
  model: ScoreModel;
  tokenizer: Tokenizer;
}

async function loadScorer(
  name: string,
  type: "reward" | "cost",
  events: LoadingEvents,
): Promise<LoadedScoreModel> {
  const { dir } = await resolveModel(name, events);
  const folder = await openWatchedFolder(dir, events);
  try {
    const config = parseScoreConfig(folder.configText, folder.configPath);
    if (config.type !== type) {
      throw new TypeError(
        `${dir}: config.json says score_type "${config.type}", need "${type}"; ` +
          "are reward_model and cost_model swapped?",
      );
    }
    return { model: await loadScoreModel(folder.source, config), tokenizer: await loadTokenizer(dir) };
  } finally {
    await folder.close();
  }
}

/**
 * Ids of a conversation as the score models read it: BOS, the text, one EOS (also where the text ends with one
 * already). Too long: the end of the answer is cut, the EOS stays, since the score is read there.
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

/** Which models judge. */
export interface ScorerModels {
  /** Folders or hub ids. */
  reward: string;
  cost: string;
  /** Tokens of a conversation that are read. */
  maxLength: number;
}

/**
 * Loads reward and cost model.
 * @throws TypeError when a model judges something else
 * @throws Error when file and tensors, which it names, do not fit
 */
export async function loadScorers(
  { reward: rewardName, cost: costName, maxLength }: ScorerModels,
  events: LoadingEvents = {},
): Promise<LoadedScorers> {
  const reward = await loadScorer(rewardName, "reward", events);
  const cost = await loadScorer(costName, "cost", events);
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
