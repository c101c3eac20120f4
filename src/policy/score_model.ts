/**
 * Score models: a trunk and a linear head read at one token. safe-rlhf's (LlamaForScore) have one score, read at the
 * last token; transformers' (...ForSequenceClassification) one for each label, read at the last token that is not
 * padding.
 */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { copyOf, readFloats } from "../gpu/tensors.ts";
import { inverseRows } from "../ops/rows/gather_rows.ts";
import { linear } from "../ops/linear/linear.ts";
import type { Weight } from "../ops/weight/weight.ts";
import { disposeTrunk, makeTrunk, pickedHidden, uploadSequences } from "./transformer.ts";
import type { PickedRows, SequenceTensors, Trunk } from "./trunk.ts";
import { bucketRows, type PackedSequences, packSequences } from "./packing.ts";
import { disposePasses, makePassReplays, type PassReplays, trimPasses } from "./pass_replays.ts";
import { CLASSIFIER_HEAD, findScoreHead, type ScoreConfig, type ScoreType } from "./score_config.ts";
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

interface Normalizer {
  mean: number;
  variance: number;
}

export interface ScoreModel {
  trunk: Trunk;
  /** [labels, hidden size]. */
  scoreHead: Weight;
  bias: Weight | null;
  /** Row of the head that is the score. */
  label: number;
  /** Tokens of this id at the end are not read: the score is read in front of them. null: all are read. */
  padId: number | null;
  type: ScoreType;
  /** null: raw scores. */
  normalizer: Normalizer | null;
  replays: PassReplays;
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

export interface ScoreModelOptions {
  holding?: Holding;
  label?: number;
  mostPositions?: number;
}

/**
 * Loads a score model; what its head is, and whether it has a bias, is decided by the file.
 * @param label of a classifier, by its place
 * @param mostPositions as of makeTrunk
 * @throws TypeError when the weights hold no score head
 * @throws RangeError when it gives no score of that label
 * @throws Error when file and tensors, which it names, do not fit
 */
export async function loadScoreModel(
  source: WeightSource,
  config: ScoreConfig,
  { holding = "frozen", label = 0, mostPositions }: ScoreModelOptions = {},
): Promise<ScoreModel> {
  const { hiddenSize, layout } = config.model;
  const head = findScoreHead(source, config);
  if (!head) {
    const names = `"${layout.scoreHead.weight}" or "${CLASSIFIER_HEAD.weight}"`;
    throw new TypeError(
      `${source.path}: a score model is required, with ${names} among its weights, got ${config.architecture}`,
    );
  }
  if (!(label >= 0 && label < head.count)) {
    throw new RangeError(`${source.path}: no label ${label}; the head gives ${head.count} scores`);
  }
  // A language model's head may be left from what the score model was made of: no score goes through it.
  assertNoSurplus(source, config.model, [head.weight, head.bias, layout.head, ...NORMALIZER_NAMES]);
  const trunk = makeTrunk(
    config.model,
    await loadTrunk(source, config.model, holding),
    mostPositions,
  );
  const hasBias = source.shapeOf(head.bias) !== undefined;
  return {
    trunk,
    scoreHead: await loadExtraWeight(source, head.weight, [head.count, hiddenSize], holding),
    bias: hasBias ? await loadExtraWeight(source, head.bias, [head.count], holding) : null,
    label,
    padId: head.isClassifier ? config.padId : null,
    type: config.type ?? "reward",
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

/**
 * Raw scores of packed sequences at their last tokens, differentiable.
 * @returns f32 [M, labels], the first S rows real
 */
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
 * The tokens up to the one that is read: the last that is not padding, as transformers' classifiers pool. (No token
 * sees those behind it, so they need not be there.) Of padding alone the first is read.
 */
function readTokens(tokens: ArrayLike<number>, padId: number | null): ArrayLike<number> {
  let end = tokens.length;
  while (end > 1 && tokens[end - 1] === padId) end--;
  return end === tokens.length ? tokens : Array.from(tokens).slice(0, end);
}

/**
 * Scores token sequences (a conversation with its EOS) in one batch. A score does not depend on its neighbours.
 * @throws RangeError when a sequence is empty, or longer than the model was loaded for
 */
export async function scoreSequences(
  model: ScoreModel,
  sequences: readonly ArrayLike<number>[],
): Promise<number[]> {
  if (sequences.length === 0) return [];
  if (sequences.some((tokens) => tokens.length === 0)) {
    throw new RangeError("Cannot score an empty text: need at least one token");
  }
  const read = sequences.map((tokens) => readTokens(tokens, model.padId));
  const longest = read.reduce((most, { length }) => Math.max(most, length), 0);
  const { positions } = model.trunk;
  if (longest > positions) {
    throw new RangeError(
      `Cannot score a text of ${longest} tokens: the model was loaded for up to ${positions}; cut the text, or load ` +
        "the model for longer ones",
    );
  }
  const scores = tf.tidy(() => packedScores(model, read));
  trimPasses(model.replays);
  const values = await readFloats(scores);
  scores.dispose();
  const labels = model.scoreHead.shape[0];
  return sequences.map((_, i) => normalizeScore(values[i * labels + model.label], model));
}
