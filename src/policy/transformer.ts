/**
 * The transformer of Llama and its relatives (families/), said once. Training, prefill, decoding and scoring differ in
 * what a token attends to, so that is the one thing the caller passes in.
 *
 * Shapes: N tokens of all sequences end to end, D hidden, F intermediate, H heads, V vocabulary.
 */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { uploadTensor } from "../gpu/tensors.ts";
import { marked, recomputed } from "../gpu/op.ts";
import { scaled } from "../ops/elementwise/add.ts";
import { attention } from "../ops/attention/attention.ts";
import { embedding } from "../ops/rows/embedding.ts";
import { gatherRows } from "../ops/rows/gather_rows.ts";
import { linear, type RowCount } from "../ops/linear/linear.ts";
import { type FinalLogits, finalLogits } from "../ops/head/final_logits.ts";
import { lmHeadLogprobs } from "../ops/head/lm_head_logprobs.ts";
import { tokenLogprobs } from "../ops/head/token_logprobs.ts";
import { rmsNorm } from "../ops/norm/rms_norm.ts";
import { rope, type RopeTable } from "../ops/attention/rope.ts";
import { ropeTable } from "../ops/attention/rope_table.ts";
import { packWords, unpackWords } from "../ops/weight/pack.ts";
import type { WeightFormat } from "../ops/weight/weight.ts";
import type { ModelConfig } from "./families/family.ts";
import type { PackedSequences } from "./packing.ts";
import { layerForward, normOptions } from "./transformer_layer.ts";
import type {
  Attend,
  LayerAttention,
  PickedRows,
  Policy,
  SequenceTensors,
  TokenTensors,
  Trunk,
} from "./trunk.ts";
import type { TrunkWeights } from "./weights.ts";

/** A rope that turns nothing: of a single position, which stands for all that come after it. */
const NO_TURN = { cos: new Float32Array(2).fill(1), sin: new Float32Array(2), shape: [1, 2] };

/** How each layer attends. Layers of one rope share its tensors. */
function layerAttentions(config: ModelConfig, positions: number): LayerAttention[] {
  const { rotatedDim, ropeTheta, ropeScaling, localRope, headDim } = config;
  const makers = {
    global: () => ropeTable(positions, rotatedDim, ropeTheta, ropeScaling),
    local: () => ropeTable(positions, rotatedDim, localRope!.theta, localRope!.scaling),
    none: () => NO_TURN,
  };
  const tables = new Map<string, RopeTable>();
  const tableOf = (name: keyof typeof makers): RopeTable => {
    let table = tables.get(name);
    if (!table) {
      const { cos, sin, shape } = makers[name]();
      tables.set(name, table = { cos: uploadTensor(cos, shape), sin: uploadTensor(sin, shape) });
    }
    return table;
  };
  return config.layerKinds.map(({ rope, window }) => ({
    rope: tableOf(rope ?? "none"),
    shape: {
      heads: config.heads,
      kvHeads: config.kvHeads,
      headDim,
      scale: config.attentionScale ?? headDim ** -0.5,
      softcap: config.attentionSoftcap ?? undefined,
      window: window ?? undefined,
    },
  }));
}

/** A number as a format holds it. */
const rounded = (value: number, format: WeightFormat) =>
  format === "f32" ? Math.fround(value) : unpackWords(packWords([value, 0], format), format)[0];

/**
 * A trunk of these weights.
 * @param mostPositions tokens of the longest sequence, all that the model has unless given: tables of 131072 positions
 *   would take seconds to make, and hundreds of megabytes. A row of a table depends on its position alone
 */
export function makeTrunk<W extends TrunkWeights>(
  config: ModelConfig,
  weights: W,
  mostPositions = config.maxPositions,
): Trunk & { weights: W } {
  const { embeddingScale, roundsEmbeddingScale, maxPositions } = config;
  const positions = Math.min(mostPositions, maxPositions);
  return {
    config,
    weights,
    layers: layerAttentions(config, positions),
    positions,
    embeddingScale: roundsEmbeddingScale ? rounded(embeddingScale, weights.embedding.format) : embeddingScale,
    root: uploadTensor(new Float32Array(1), []),
  };
}

function ropeTensors({ layers }: Trunk): Tensor[] {
  const tables = new Set(layers.map(({ rope }) => rope));
  return [...tables].flatMap(({ cos, sin }) => [cos, sin]);
}

/**
 * Takes longer rope tables, where `positions` are more than the trunk has and not more than the model's.
 * @returns the tables before, for the caller to free: plans that were recorded over them read them still
 */
export function coverPositions(trunk: Trunk, positions: number): Tensor[] {
  const { config } = trunk;
  // At least twice as many, so that lengths which rise by and by make few tables.
  const most = Math.min(Math.max(positions, 2 * trunk.positions), config.maxPositions);
  if (positions <= trunk.positions || most === trunk.positions) return [];
  const outgrown = ropeTensors(trunk);
  trunk.layers = layerAttentions(config, most);
  trunk.positions = most;
  return outgrown;
}

export function disposeTrunk(trunk: Trunk): void {
  tf.dispose([trunk.root, ...ropeTensors(trunk)]);
}

/** The heads of x turned by the positions of their tokens. @param x_NH f32 [N, heads*headDim] */
export function rotate({ layers, config }: Trunk, layer: number, x_NH: Tensor, positions: Tensor): Tensor {
  return rope(x_NH, positions, layers[layer].rope, { headDim: config.headDim });
}

/** Hidden states after the last layer, before the final norm. @returns f32 [N,D] */
export function trunkForward(trunk: Trunk, tokens: TokenTensors, attend: Attend, rows: RowCount): Tensor {
  let x_ND = embedding(trunk.root, tokens.ids, trunk.weights.embedding);
  if (trunk.embeddingScale !== 1) x_ND = scaled(x_ND, trunk.embeddingScale);
  for (let l = 0; l < trunk.config.layers; l++) {
    const before = trunk.marksLayers ? marked(x_ND, l) : x_ND;
    const layer = (x: Tensor) => layerForward(trunk, l, x, { attend, rows });
    // tidy frees the layer's intermediates at once; under a tape, what backward needs was saved by reference.
    x_ND = trunk.recomputesLayers ? recomputed(layer, before) : tf.tidy(() => layer(before));
  }
  return x_ND;
}

/** Final norm. @param x_ND f32 [N,D] */
function finalNorm(trunk: Trunk, x_ND: Tensor): Tensor {
  return rmsNorm(x_ND, trunk.weights.norm, normOptions(trunk.config));
}

/** What becomes of the head's product. */
const finalOptions = ({ logitsSoftcap, logitsDivisor }: ModelConfig): FinalLogits => ({
  softcap: logitsSoftcap ?? undefined,
  divisor: logitsDivisor,
});

/** What the head makes of rows, before a softcap and a divisor. @returns f32 [N,V] */
export function headProduct(policy: Policy, hidden_ND: Tensor, rows: RowCount): Tensor {
  return linear(finalNorm(policy, hidden_ND), policy.weights.head, { rows });
}

/** The logits, as the model means them, that the head's product stands for. */
export function logitsOf({ config }: Policy, product_NV: Tensor): Tensor {
  const { logitsSoftcap, logitsDivisor } = config;
  if (logitsSoftcap === null && logitsDivisor === 1) return product_NV;
  return finalLogits(product_NV, finalOptions(config));
}

/** Logits of rows. @returns f32 [N,V] */
export function headLogits(policy: Policy, hidden_ND: Tensor, rows: RowCount): Tensor {
  return logitsOf(policy, headProduct(policy, hidden_ND, rows));
}

/** Log-probs of one token of each row by the kernel, and so the bits, of `policyLogprobs`. @returns f32 [N], nats */
export function productLogprobs(
  { config }: Policy,
  product_NV: Tensor,
  tokens: Tensor,
  temperature: number,
): Tensor {
  return tokenLogprobs(product_NV, tokens, { temperature, ...finalOptions(config) })[0];
}

export function uploadSequences(packed: PackedSequences): SequenceTensors {
  const rows = packed.ids.length;
  return {
    ids: tf.tensor1d(packed.ids, "int32"),
    positions: tf.tensor1d(packed.positions, "int32"),
    bounds: tf.tensor2d(packed.bounds, [rows, 2], "int32"),
  };
}

/** Each token attends to the beginning of its sequence, where that is shared, and to its own sequence up to itself. */
export function causalAttend(trunk: Trunk, { positions, bounds, prefix }: SequenceTensors): Attend {
  return (l, q, k, v) => {
    const turn = (x: Tensor) => rotate(trunk, l, x, positions);
    const shared = prefix && { ...prefix.keys[l], ranges: prefix.ranges, readers: prefix.readers };
    return attention({ q: turn(q), k: turn(k), v, bounds, prefix: shared }, trunk.layers[l].shape);
  };
}

/** Hidden states of picked rows, after the final norm. @returns f32 [M,D] */
export function pickedHidden(trunk: Trunk, sequences: SequenceTensors, picked: PickedRows): Tensor {
  const hidden_ND = trunkForward(trunk, sequences, causalAttend(trunk, sequences), "many");
  return finalNorm(trunk, gatherRows(hidden_ND, picked.rows, picked.inverse));
}

/** Rows of logits that the LM head makes at a time. */
export const HEAD_CHUNK_ROWS = 1024;

/** Which tokens' log-probs, and of what temperature. */
interface LogprobRows {
  picked: PickedRows;
  /** i32 [M]: the token that follows each picked row; -1 = spare, gives 0 */
  targets: Tensor;
  temperature: number;
  /** Whether the entropy is differentiable too; default: no. */
  differentiatesEntropy?: boolean;
}

/**
 * Log-probs (nats, of logits / temperature) of the tokens that follow the picked rows, and the entropy there.
 * @returns [logprobs f32 [M], entropy f32 [M]]; the second is differentiable where the options say so
 */
export function policyLogprobs(
  policy: Policy,
  sequences: SequenceTensors,
  { picked, targets, temperature, differentiatesEntropy }: LogprobRows,
): Tensor[] {
  const hidden_MD = pickedHidden(policy, sequences, picked);
  return lmHeadLogprobs(hidden_MD, policy.weights.head, targets, {
    differentiatesEntropy,
    temperature,
    chunkRows: HEAD_CHUNK_ROWS,
    ...finalOptions(policy.config),
  });
}
