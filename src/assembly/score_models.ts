/** Reward and cost model on the GPU, and how they read a conversation. */
import { loadTokenizer, type Tokenizer } from "../io/tokenizer/tokenizer.ts";
import { findScoreHead, parseScoreConfig, type ScoreConfig, type ScoreType } from "../policy/score_config.ts";
import { disposeScoreModel, loadScoreModel, type ScoreModel, scoreSequences } from "../policy/score_model.ts";
import type { WeightSource } from "../policy/weight_source.ts";
import { type Label, placeOfLabel, WrongSetting } from "../scorer/apis/api.ts";
import type { ScoreTexts } from "../scorer/protocol.ts";
import type { LoadingEvents } from "./events.ts";
import { resolveModel } from "./hub.ts";
import { openWatchedFolder } from "./models.ts";

interface LoadedScoreModel {
  model: ScoreModel;
  tokenizer: Tokenizer;
}

/** A score model that a setting names. */
export interface NamedScoreModel {
  /** What it is to give; the setting is `reward_model` or `cost_model`. */
  type: ScoreType;
  /** A folder or hub id. */
  name: string;
  /** Of a classifier: which label is the score. null: the only one. */
  label: Label | null;
}

/** What is loaded of a score model's folder. */
interface ScoreFolder {
  configText: string;
  configPath: string;
  source: WeightSource;
}

/**
 * How the score model of a folder is loaded, once it is one and gives what it is to give.
 * @throws TypeError when the folder holds another kind of model, or no such label; it names the setting
 */
export function scoreModelOf(
  { configText, configPath, source }: ScoreFolder,
  { type, name, label }: NamedScoreModel,
): { config: ScoreConfig; label: number } {
  const setting = `${type}_model=${name}`;
  const config = parseScoreConfig(configText, configPath);
  const head = findScoreHead(source, config);
  if (!head) {
    throw new TypeError(
      `${setting}: a score model is required, with a "score_head.weight" as safe-rlhf saves it or a "score.weight" ` +
        `as transformers' ...ForSequenceClassification have it, got ${config.architecture}; set ${type}_model to one`,
    );
  }
  if (config.type !== null && config.type !== type) {
    throw new TypeError(
      `${setting}: config.json says score_type "${config.type}", need "${type}"; ` +
        "are reward_model and cost_model swapped?",
    );
  }
  if (!head.isClassifier) {
    if (label === null || label === 0) return { config, label: 0 };
    throw new TypeError(
      `${setting}: it has one score and no labels; set ${type}_label to null, got ${label}`,
    );
  }
  const names = config.labels ?? Array.from({ length: head.count }, (_, i) => `LABEL_${i}`);
  if (names.length !== head.count) {
    throw new TypeError(
      `${setting}: config.json names ${names.length} labels, but the weights give ${head.count} scores; take both ` +
        "from the same model",
    );
  }
  try {
    return { config, label: placeOfLabel(type === "reward" ? "rewards" : "costs", label, names) };
  } catch (error) {
    if (!(error instanceof WrongSetting)) throw error;
    throw new TypeError(`${setting}: ${error.message}; ${error.remedy}`);
  }
}

async function loadScorer(wanted: NamedScoreModel, events: LoadingEvents): Promise<LoadedScoreModel> {
  const { dir } = await resolveModel(wanted.name, events);
  const folder = await openWatchedFolder(dir, events);
  try {
    const { config, label } = scoreModelOf(folder, wanted);
    return {
      model: await loadScoreModel(folder.source, config, { label }),
      tokenizer: await loadTokenizer(dir),
    };
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
  /** What `scoreTexts` needs beside texts. */
  wants: readonly "messages"[];
  dispose(): void;
}

/** Which models judge. */
export interface ScorerModels {
  /** Folders or hub ids. */
  reward: string;
  cost: string;
  /** Labels of classifiers; null: the only one. Default null. */
  rewardLabel?: Label | null;
  costLabel?: Label | null;
  /** Tokens of a conversation that are read. */
  maxLength: number;
}

/**
 * Loads reward and cost model.
 * @throws TypeError when a model judges something else, or is no score model
 * @throws Error when file and tensors, which it names, do not fit
 */
export async function loadScorers(
  { reward: rewardName, cost: costName, rewardLabel = null, costLabel = null, maxLength }: ScorerModels,
  events: LoadingEvents = {},
): Promise<LoadedScorers> {
  const reward = await loadScorer({ type: "reward", name: rewardName, label: rewardLabel }, events);
  const cost = await loadScorer({ type: "cost", name: costName, label: costLabel }, events);
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
    wants: [],
    dispose() {
      disposeScoreModel(reward.model);
      disposeScoreModel(cost.model);
    },
  };
}
