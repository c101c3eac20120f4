/** Reward and cost model on the GPU, and how they read a conversation. */
import { loadTokenizer } from "../io/tokenizer/tokenizer.ts";
import { findScoreHead, parseScoreConfig, type ScoreConfig, type ScoreType } from "../policy/score_config.ts";
import { disposeScoreModel, loadScoreModel, type ScoreModel, scoreSequences } from "../policy/score_model.ts";
import { assertFiniteSource } from "../policy/nonfinite.ts";
import type { WeightSource } from "../policy/weight_source.ts";
import { listWeights } from "../policy/weights.ts";
import { type Label, placeOfLabel, WrongSetting } from "../scorer/apis/api.ts";
import type { ScoreTexts } from "../scorer/protocol.ts";
import { type BatchOptions, type PreparedText, scoreInBatches } from "../scorer/service/batches.ts";
import type { LoadingEvents } from "./events.ts";
import { resolveModel } from "./hub.ts";
import { openWatchedFolder } from "./models.ts";
import { type ConversationReader, openConversationReader } from "./score_texts.ts";

interface LoadedScoreModel {
  model: ScoreModel;
  reader: ConversationReader;
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
): { config: ScoreConfig; label: number; isClassifier: boolean } {
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
    if (label === null || label === 0) return { config, label: 0, isClassifier: false };
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
    const place = placeOfLabel(type === "reward" ? "rewards" : "costs", label, names);
    return { config, label: place, isClassifier: true };
  } catch (error) {
    if (!(error instanceof WrongSetting)) throw error;
    throw new TypeError(`${setting}: ${error.message}; ${error.remedy}`);
  }
}

async function loadScorer(
  wanted: NamedScoreModel,
  mostPositions: number,
  events: LoadingEvents,
): Promise<LoadedScoreModel> {
  const { dir } = await resolveModel(wanted.name, events);
  const folder = await openWatchedFolder(dir, events);
  try {
    const { config, label, isClassifier } = scoreModelOf(folder, wanted);
    const reader = await openConversationReader(await loadTokenizer(dir), isClassifier);
    const model = await loadScoreModel(folder.source, config, { label, mostPositions });
    const weights = [...listWeights(model.trunk.weights), model.scoreHead];
    await assertFiniteSource(folder.source, weights).catch((error) => {
      disposeScoreModel(model);
      throw error;
    });
    return { model, reader };
  } finally {
    await folder.close();
  }
}

/** A conversation as both models read it. */
interface ReadText extends PreparedText {
  /** For the reward model, and for the cost model. */
  ids: number[][];
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
  batches: BatchOptions = {},
): Promise<LoadedScorers> {
  const reward = await loadScorer(
    { type: "reward", name: rewardName, label: rewardLabel },
    maxLength,
    events,
  );
  const cost = await loadScorer({ type: "cost", name: costName, label: costLabel }, maxLength, events)
    .catch((error) => {
      disposeScoreModel(reward.model);
      throw error;
    });
  const models = [reward, cost];
  const scoreTexts = scoreInBatches<ReadText>({
    prepare(text, conversation) {
      const read = models.map(({ model, reader }) =>
        reader.read(text, conversation, Math.min(maxLength, model.trunk.config.maxPositions))
      );
      return {
        ids: read.map(({ ids }) => ids),
        tokens: read.reduce((sum, { ids }) => sum + ids.length, 0),
        isCut: read.some(({ isCut }) => isCut),
      };
    },
    async score(texts) {
      const [rewards, costs] = await Promise.all(
        models.map(({ model }, m) => scoreSequences(model, texts.map(({ ids }) => ids[m]))),
      );
      return { rewards, costs };
    },
  }, batches);
  return {
    scoreTexts,
    wants: reward.reader.wantsMessages || cost.reader.wantsMessages ? ["messages"] : [],
    dispose() {
      disposeScoreModel(reward.model);
      disposeScoreModel(cost.model);
    },
  };
}
