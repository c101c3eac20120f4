/** Reward and cost models on the GPU, and how they read a conversation. */
import { loadTokenizer } from "../io/tokenizer/tokenizer.ts";
import { findScoreHead, parseScoreConfig, type ScoreConfig, type ScoreType } from "../policy/score_config.ts";
import { disposeScoreModel, loadScoreModel, type ScoreModel, scoreSequences } from "../policy/score_model.ts";
import { assertFiniteSource } from "../policy/nonfinite.ts";
import type { WeightSource } from "../policy/weight_source.ts";
import { listWeights } from "../policy/weights.ts";
import { type Label, placeOfLabel, WrongSetting } from "../scorer/apis/api.ts";
import { largestCosts } from "../rl/quadrants.ts";
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
  /** What it is to give; the setting is `reward_model` or `cost_model`, unless it is of an entry of `costs`. */
  type: ScoreType;
  /** Name of the cost where there are several; null or left out: there is one. */
  cost?: string | null;
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
  { type, name, label, cost = null }: NamedScoreModel,
): { config: ScoreConfig; label: number; isClassifier: boolean } {
  const setting = cost === null ? `${type}_model=${name}` : `costs, model of ${cost}=${name}`;
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
  /** For the reward model, and for each cost model. */
  ids: number[][];
}

/** Reward and cost models on the GPU, as a scorer service serves them. */
export interface LoadedScorers {
  scoreTexts: ScoreTexts;
  /** What `scoreTexts` needs beside texts. */
  wants: readonly "messages"[];
  dispose(): void;
}

/** What gives a cost. */
export interface CostModel {
  /** Of the cost; null where there is one, which is answered as one list. */
  name: string | null;
  /** Folder or hub id. */
  model: string;
  /** As rewardLabel. */
  label?: Label | null;
}

/** Which models judge. */
export interface ScorerModels {
  /** Folder or hub id. */
  reward: string;
  /** Label of a classifier; null: the only one. Default null. */
  rewardLabel?: Label | null;
  /** One at least, and with names where there are several. */
  costs: readonly CostModel[];
  /** Tokens of a conversation that are read. */
  maxLength: number;
}

/**
 * Loads reward and cost models.
 * @throws TypeError when a model judges something else, or is no score model
 * @throws Error when file and tensors, which it names, do not fit
 */
export async function loadScorers(
  { reward, rewardLabel = null, costs, maxLength }: ScorerModels,
  events: LoadingEvents = {},
  batches: BatchOptions = {},
): Promise<LoadedScorers> {
  const models: LoadedScoreModel[] = [];
  const dispose = () => models.forEach(({ model }) => disposeScoreModel(model));
  try {
    models.push(await loadScorer({ type: "reward", name: reward, label: rewardLabel }, maxLength, events));
    for (const { name: cost, model: name, label = null } of costs) {
      models.push(await loadScorer({ type: "cost", name, label, cost }, maxLength, events));
    }
  } catch (error) {
    dispose();
    throw error;
  }
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
      const [rewards, ...lists] = await Promise.all(
        models.map(({ model }, m) => scoreSequences(model, texts.map(({ ids }) => ids[m]))),
      );
      const named = costs.flatMap(({ name }, k) =>
        name === null ? [] : [[`costs/${name}`, lists[k]] as const]
      );
      return {
        rewards,
        costs: largestCosts(lists),
        ...(named.length > 0 && { named: Object.fromEntries(named) }),
      };
    },
  }, batches);
  return {
    scoreTexts,
    wants: models.some(({ reader }) => reader.wantsMessages) ? ["messages"] : [],
    dispose,
  };
}
