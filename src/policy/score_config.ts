/** What config.json and the names of its weights say about a score model. */
import { shortJson } from "../config/parsed_json.ts";
import type { ModelConfig } from "./families/family.ts";
import { parseModelConfig } from "./model_config.ts";
import type { WeightSource } from "./weight_source.ts";

export type ScoreType = "reward" | "cost";

export interface ScoreConfig {
  model: ModelConfig;
  /** null: a classifier, which does not say what its labels stand for. */
  type: ScoreType | null;
  /** What it is by its own word: "LlamaForCausalLM", say. */
  architecture: string;
  doNormalize: boolean;
  mean: number | null;
  variance: number | null;
  /** Of a classifier: names of its labels in order, where config.json has any. */
  labels: readonly string[] | null;
  /** Of a classifier; null: it has none. */
  padId: number | null;
}

const scalarOf = (value: unknown): number | null => {
  const first = Array.isArray(value) ? value.flat()[0] : value;
  return typeof first === "number" ? first : null;
};

/** Padding of families whose config.json may leave it out, as in transformers; the others have none then. */
const PAD_IDS: Readonly<Record<string, number>> = { gemma: 0, gemma2: 0, gemma3_text: 0 };

function labelsOf(id2label: unknown, path: string): string[] | null {
  if (id2label === undefined || id2label === null) return null;
  const named = typeof id2label === "object" ? id2label as Record<string, unknown> : {};
  const count = Object.keys(named).length;
  const labels = Array.from({ length: count }, (_, i) => named[i]);
  if (count > 0 && labels.every((label) => typeof label === "string")) return labels as string[];
  throw new TypeError(
    `${path}: id2label must name labels 0, 1, ... each by a text, got ${
      JSON.stringify(id2label).slice(0, 200)
    }`,
  );
}

function padIdOf(json: Record<string, unknown>, path: string): number | null {
  const id = json.pad_token_id === undefined ? PAD_IDS[String(json.model_type)] ?? null : json.pad_token_id;
  if (id === null || Number.isInteger(id)) return id as number | null;
  throw new TypeError(`${path}: pad_token_id must be an integer or null, got ${shortJson(id)}`);
}

/**
 * Whether a config.json is of a model that gives scores and writes nothing: by its architecture, or by a key that
 * safe-rlhf's score models have. Their trunk alone would load as a policy where head and embedding are tied.
 */
export function givesScores(json: Readonly<Record<string, unknown>>): boolean {
  const [architecture] = Array.isArray(json.architectures) ? json.architectures : [];
  return json.score_type !== undefined || /Score|Reward|SequenceClassification/.test(String(architecture));
}

/** @throws TypeError when it is no score model's, or one of more scores than safe-rlhf's have */
export function parseScoreConfig(text: string, path: string): ScoreConfig {
  const model = parseModelConfig(text, path);
  const json = JSON.parse(text) as Record<string, unknown>;
  const architecture = Array.isArray(json.architectures) ? String(json.architectures[0]) : "no architecture";
  const isClassifier = architecture.endsWith("ForSequenceClassification");
  const type = json.score_type ?? (isClassifier ? null : "reward");
  if (type !== "reward" && type !== "cost" && type !== null) {
    throw new TypeError(`${path}: score_type must be "reward" or "cost", got ${shortJson(type)}`);
  }
  if ((json.score_dim ?? 1) !== 1) {
    throw new TypeError(`${path}: score_dim must be 1, got ${shortJson(json.score_dim)}`);
  }
  return {
    model,
    type,
    architecture,
    doNormalize: json.do_normalize === true,
    mean: scalarOf(json.mean),
    variance: scalarOf(json.var),
    labels: labelsOf(json.id2label, path),
    padId: padIdOf(json, path),
  };
}

/** A head of a score model in a file. */
export interface ScoreHead {
  weight: string;
  bias: string;
  /** Scores that it gives. */
  count: number;
  isClassifier: boolean;
}

/** As transformers' ...ForSequenceClassification have it. */
export const CLASSIFIER_HEAD = { weight: "score.weight", bias: "score.bias" };

/** The head that the weights hold; null where they are no score model's. */
export function findScoreHead(source: WeightSource, { model }: ScoreConfig): ScoreHead | null {
  const { scoreHead } = model.layout;
  if (source.shapeOf(scoreHead.weight)) return { ...scoreHead, count: 1, isClassifier: false };
  const shape = source.shapeOf(CLASSIFIER_HEAD.weight);
  return shape ? { ...CLASSIFIER_HEAD, count: shape[0], isClassifier: true } : null;
}
