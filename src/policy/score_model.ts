/** safe-rlhf's score models: a trunk and a linear head read at the last token. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { copyOf, readFloats } from "../gpu/tensors.ts";
import { inverseRows } from "../ops/rows/gather_rows.ts";
import { linear } from "../ops/linear/linear.ts";
import type { Weight } from "../ops/weight/weight.ts";
import { disposeTrunk, makeTrunk, pickedHidden, uploadSequences } from "./llama.ts";
import type { PickedRows, SequenceTensors, Trunk } from "./trunk.ts";
import { parseModelConfig } from "./model_config.ts";
import type { ModelConfig } from "./families/family.ts";
import { bucketRows, type PackedSequences, packSequences } from "./packing.ts";
import { disposePasses, makePassReplays, type PassReplays, trimPasses } from "./pass_replays.ts";
import { cutCommonBeginnings, packRests, prefixKeys, uploadPrefixRows } from "./shared_prefix.ts";
import {
  assertNoSurplus,
  disposeWeights,
  type Holding,
  listWeights,
  loadExtraWeight,
  loadTrunk,
} from "./weights.ts";
import type { WeightSource } from "./weight_source.ts";

export type ScoreType = "reward" | "cost";

interface Normalizer {
  mean: number;
  variance: number;
}

export interface ScoreModel {
  trunk: Trunk;
  scoreHead: Weight;
  bias: Weight | null;
  type: ScoreType;
  /** null: raw scores. */
  normalizer: Normalizer | null;
  replays: PassReplays;
}

interface ScoreConfig {
  model: ModelConfig;
  type: ScoreType;
  doNormalize: boolean;
  mean: number | null;
  variance: number | null;
}

const scalarOf = (value: unknown): number | null => {
  const first = Array.isArray(value) ? value.flat()[0] : value;
  return typeof first === "number" ? first : null;
};

/** @throws TypeError when it is no score model of one dimension */
export function parseScoreConfig(text: string, path: string): ScoreConfig {
  const model = parseModelConfig(text, path);
  const json = JSON.parse(text) as Record<string, unknown>;
  const type = json.score_type ?? "reward";
  if (type !== "reward" && type !== "cost") {
    throw new TypeError(`${path}: score_type must be "reward" or "cost", got ${JSON.stringify(type)}`);
  }
  if ((json.score_dim ?? 1) !== 1) throw new TypeError(`${path}: score_dim must be 1, got ${json.score_dim}`);
  return {
    model,
    type,
    doNormalize: json.do_normalize === true,
    mean: scalarOf(json.mean),
    variance: scalarOf(json.var),
  };
}

/** Buffers of safe-rlhf's Normalizer beside the weights. */
const NORMALIZER_NAMES = ["normalizer.mean", "normalizer.var", "normalizer.count"];

async function optionalScalar(source: WeightSource, name: string): Promise<number | null> {
  return source.shapeOf(name) ? (await source.read(name))[0] : null;
}

/** The normaliser's numbers: the buffers of the weights, else those of config.json. */
async function loadNormalizer(source: WeightSource, config: ScoreConfig): Promise<Normalizer | null> {
  if (!config.doNormalize) return null;
  const mean = await optionalScalar(source, "normalizer.mean") ?? config.mean;
  const variance = await optionalScalar(source, "normalizer.var") ?? config.variance;
  if (mean === null || variance === null) {
    throw new Error(
      `${source.path}: do_normalize is on, but neither the weights nor config.json hold the normalizer's mean and var`,
    );
  }
  return { mean, variance };
}

/** Loads a score model; whether the head has a bias is decided by the file. */
export async function loadScoreModel(
  source: WeightSource,
  config: ScoreConfig,
  holding: Holding = "frozen",
): Promise<ScoreModel> {
  const { hiddenSize, layout: { head, scoreHead } } = config.model;
  // A language model's head may be left from what the score model was made of: no score goes through it.
  assertNoSurplus(source, config.model, [scoreHead.weight, scoreHead.bias, head, ...NORMALIZER_NAMES]);
  const trunk = makeTrunk(config.model, await loadTrunk(source, config.model, holding));
  const hasBias = source.shapeOf(scoreHead.bias) !== undefined;
  return {
    trunk,
    scoreHead: await loadExtraWeight(source, scoreHead.weight, [1, hiddenSize], holding),
    bias: hasBias ? await loadExtraWeight(source, scoreHead.bias, [1], holding) : null,
    type: config.type,
    normalizer: await loadNormalizer(source, config),
    replays: makePassReplays(),
  };
}

export function listScoreWeights(model: ScoreModel): Weight[] {
  return [...listWeights(model.trunk.weights), model.scoreHead, ...(model.bias ? [model.bias] : [])];
}

export function disposeScoreModel(model: ScoreModel): void {
  disposePasses(model.replays);
  disposeWeights(listScoreWeights(model));
  disposeTrunk(model.trunk);
}

/**
 * Reward (x - mean) / (sqrt(var) + 1e-8); a cost keeps its sign: x / (sqrt(var) + 1e-8).
 * As safe-rlhf's Normalizer.
 */
export function normalizeScore(score: number, model: Pick<ScoreModel, "type" | "normalizer">): number {
  if (!model.normalizer) return score;
  const { mean, variance } = model.normalizer;
  const centred = model.type === "reward" ? score - mean : score;
  return centred / (Math.sqrt(variance) + 1e-8);
}

/** Raw scores of packed sequences at their last tokens, differentiable. @returns f32 [M,1], the first S rows real */
export function endScores(model: ScoreModel, sequences: SequenceTensors, lasts: PickedRows): Tensor {
  const hidden_MD = pickedHidden(model.trunk, sequences, lasts);
  return linear(hidden_MD, model.scoreHead, { bias: model.bias ?? undefined, rows: "few" });
}

/** The row of each sequence's last token, padded to a bucket. All tensors belong to the surrounding tidy. */
export function lastTokenRows({ starts, ids }: PackedSequences): PickedRows {
  const count = starts.length - 1;
  const rows = new Int32Array(bucketRows(count)).fill(-1);
  for (let s = 0; s < count; s++) rows[s] = starts[s + 1] - 1;
  return { rows: tf.tensor1d(rows, "int32"), inverse: tf.tensor1d(inverseRows(rows, ids.length), "int32") };
}

/** Scores of sequences; what neighbours share (the prompt of completions) is computed once. @returns as endScores */
function packedScores(model: ScoreModel, sequences: readonly ArrayLike<number>[]): Tensor {
  const { trunk, replays } = model;
  const cut = cutCommonBeginnings(sequences);
  if (!cut) {
    const packed = packSequences(sequences);
    const inputs = { sequences: uploadSequences(packed), lasts: lastTokenRows(packed) };
    return copyOf(replays.passes.run("scores", inputs, (own) => endScores(model, own.sequences, own.lasts)));
  }
  const prefixes = packSequences(cut.prefixes);
  const packed = packRests(cut.rests, cut.prefixOf, prefixes);
  const uploaded = uploadSequences(prefixes);
  const keys = replays.prompts.run("keys", uploaded, (own) => prefixKeys(trunk, own, false));
  const inputs = {
    sequences: uploadSequences(packed),
    rows: uploadPrefixRows(packed),
    lasts: lastTokenRows(packed),
  };
  return copyOf(replays.passes.run(`scores on ${keys[0].k.id}`, inputs, (own) => {
    return endScores(model, { ...own.sequences, prefix: { ...own.rows, keys } }, own.lasts);
  }));
}

/**
 * Scores token sequences (a conversation with its EOS) in one batch. A score does not depend on its neighbours.
 * @throws RangeError when a sequence is empty
 */
export async function scoreSequences(
  model: ScoreModel,
  sequences: readonly ArrayLike<number>[],
): Promise<number[]> {
  if (sequences.length === 0) return [];
  if (sequences.some((tokens) => tokens.length === 0)) {
    throw new RangeError("Cannot score an empty text: need at least one token");
  }
  const scores = tf.tidy(() => packedScores(model, sequences));
  trimPasses(model.replays);
  const values = await readFloats(scores);
  scores.dispose();
  return Array.from(values.subarray(0, sequences.length), (score) => normalizeScore(score, model));
}
