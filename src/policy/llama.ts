/**
 * The transformer of Llama and its relatives (families/), said once. Training, prefill, decoding and scoring differ in
 * what a token attends to, so that is the one thing the caller passes in.
 *
 * Shapes: N tokens of all sequences end to end, D hidden, F intermediate, H heads, V vocabulary.
 */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { uploadTensor } from "../gpu/tensors.ts";
import { isTapeOn, recomputed } from "../gpu/op.ts";
import { add } from "../ops/elementwise/add.ts";
import { attention } from "../ops/attention/attention.ts";
import { embedding } from "../ops/rows/embedding.ts";
import { gatherRows } from "../ops/rows/gather_rows.ts";
import { linear, linears, type RowCount } from "../ops/linear/linear.ts";
import { lmHeadLogprobs } from "../ops/head/lm_head_logprobs.ts";
import { residualNorm } from "../ops/norm/residual_norm.ts";
import { rmsNorm } from "../ops/norm/rms_norm.ts";
import { rope } from "../ops/attention/rope.ts";
import { ropeTable } from "../ops/attention/rope_table.ts";
import { swiglu } from "../ops/elementwise/swiglu.ts";
import { swigluLinear } from "../ops/linear/swiglu_linear.ts";
import type { Weight } from "../ops/weight/weight.ts";
import type { ModelConfig } from "./families/family.ts";
import type { LayerWeights } from "./families/layout.ts";
import type { PackedSequences } from "./packing.ts";
import type { Attend, PickedRows, Policy, SequenceTensors, TokenTensors, Trunk } from "./trunk.ts";
import type { TrunkWeights } from "./weights.ts";

export function makeTrunk<W extends TrunkWeights>(config: ModelConfig, weights: W): Trunk & { weights: W } {
  const table = ropeTable(config.maxPositions, config.headDim, config.ropeTheta, config.ropeScaling);
  return {
    config,
    weights,
    rope: { cos: uploadTensor(table.cos, table.shape), sin: uploadTensor(table.sin, table.shape) },
    attentionShape: {
      heads: config.heads,
      kvHeads: config.kvHeads,
      headDim: config.headDim,
      scale: config.headDim ** -0.5,
    },
    root: uploadTensor(new Float32Array(1), []),
  };
}

export function disposeTrunk(trunk: Trunk): void {
  tf.dispose([trunk.rope.cos, trunk.rope.sin, trunk.root]);
}

/** RMS norm of each head of its own, where the model has it. @param x_NH f32 [N, heads*headDim] */
function normHeads(x_NH: Tensor, weight: Weight | undefined, { headDim, rmsNormEps }: ModelConfig): Tensor {
  if (!weight) return x_NH;
  return tf.reshape(rmsNorm(tf.reshape(x_NH, [-1, headDim]), weight, { eps: rmsNormEps }), x_NH.shape);
}

/** The heads of x turned by the positions of their tokens. @param x_NH f32 [N, heads*headDim] */
export function rotate({ rope: table, config }: Trunk, x_NH: Tensor, positions: Tensor): Tensor {
  return rope(x_NH, positions, table, { headDim: config.headDim });
}

/** A linear layer's weight and bias. */
type LayerPart = [weight: Weight, bias: Weight | undefined];

/** y_i = x W_i^T + bias_i, and the adapter's scale (x A_i^T) B_i^T where W_i has one. x is read by one op alone. */
function linearLayers(
  { adapters }: Trunk,
  x: Tensor,
  layers: readonly LayerPart[],
  rows: RowCount,
): Tensor[] {
  const adapterOf = layers.map(([weight]) => adapters?.byWeight.get(weight));
  const present = adapterOf.filter((adapter) => adapter !== undefined);
  const weights = [...layers.map(([weight]) => weight), ...present.map(({ a }) => a)];
  const made = linears(x, weights, { biases: layers.map(([, bias]) => bias), rows });
  let low = layers.length;
  return adapterOf.map((adapter, i) =>
    adapter ? add(made[i], linear(made[low++], adapter.b, { rows }), adapter.scale) : made[i]
  );
}

/** stream + x W^T + bias, and the adapter's part where W has one. */
function addLayer(
  trunk: Trunk,
  stream_ND: Tensor,
  x: Tensor,
  [weight, bias]: LayerPart,
  rows: RowCount,
): Tensor {
  const adapter = trunk.adapters?.byWeight.get(weight);
  if (!adapter) return linear(x, weight, { bias, residual: stream_ND, rows });
  return add(stream_ND, linearLayers(trunk, x, [[weight, bias]], rows)[0]);
}

function layerForward(
  trunk: Trunk,
  l: number,
  x_ND: Tensor,
  attend: Attend,
  rows: RowCount,
): Tensor {
  const weights: LayerWeights = trunk.weights.layers[l];
  const { config } = trunk;
  const project = (x: Tensor, ...layers: LayerPart[]) => linearLayers(trunk, x, layers, rows);
  const [stream_ND, normed_ND] = residualNorm(x_ND, weights.inputNorm, { eps: config.rmsNormEps });
  const [q, k, v] = project(
    normed_ND,
    [weights.query, weights.queryBias],
    [weights.key, weights.keyBias],
    [weights.value, weights.valueBias],
  );
  const [queries, keys] = [normHeads(q, weights.queryNorm, config), normHeads(k, weights.keyNorm, config)];
  const context_NH = attend(l, queries, keys, v);
  const attended_ND = addLayer(trunk, stream_ND, context_NH, [weights.output, weights.outputBias], rows);
  const [middle_ND, mlpInput_ND] = residualNorm(attended_ND, weights.postNorm, { eps: config.rmsNormEps });
  const gated_NF = gatedInput(trunk, weights, mlpInput_ND, rows);
  return addLayer(trunk, middle_ND, gated_NF, [weights.down, weights.downBias], rows);
}

/** silu(x gate^T) * (x up^T): in one kernel where nothing of it is needed later. @returns f32 [N,F] */
function gatedInput(trunk: Trunk, weights: LayerWeights, x_ND: Tensor, rows: RowCount): Tensor {
  const { gate, gateBias, up, upBias } = weights;
  const isPlain = !gateBias && !upBias && ![gate, up].some((weight) => trunk.adapters?.byWeight.has(weight));
  if (isPlain && !isTapeOn()) return swigluLinear(x_ND, gate, up, { rows });
  const [gates, ups] = linearLayers(trunk, x_ND, [[gate, gateBias], [up, upBias]], rows);
  return swiglu(gates, ups);
}

/** Hidden states after the last layer, before the final norm. @returns f32 [N,D] */
export function trunkForward(trunk: Trunk, tokens: TokenTensors, attend: Attend, rows: RowCount): Tensor {
  let x_ND = embedding(trunk.root, tokens.ids, trunk.weights.embedding);
  for (let l = 0; l < trunk.config.layers; l++) {
    const before = x_ND;
    const layer = (x: Tensor) => layerForward(trunk, l, x, attend, rows);
    // tidy frees the layer's intermediates at once; under a tape, what backward needs was saved by reference.
    x_ND = trunk.recomputesLayers ? recomputed(layer, before) : tf.tidy(() => layer(before));
  }
  return x_ND;
}

/** Final norm. @param x_ND f32 [N,D] */
function finalNorm(trunk: Trunk, x_ND: Tensor): Tensor {
  return rmsNorm(x_ND, trunk.weights.norm, { eps: trunk.config.rmsNormEps });
}

/** Logits of rows. @returns f32 [N,V] */
export function headLogits(policy: Policy, hidden_ND: Tensor, rows: RowCount): Tensor {
  return linear(finalNorm(policy, hidden_ND), policy.weights.head, { rows });
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
    const turn = (x: Tensor) => rotate(trunk, x, positions);
    const shared = prefix && { ...prefix.keys[l], ranges: prefix.ranges, readers: prefix.readers };
    return attention({ q: turn(q), k: turn(k), v, bounds, prefix: shared }, trunk.attentionShape);
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
}

/**
 * Log-probs (nats, of logits / temperature) of the tokens that follow the picked rows, and the entropy there.
 * @returns [logprobs f32 [M], entropy f32 [M]]; only the first is differentiable
 */
export function policyLogprobs(
  policy: Policy,
  sequences: SequenceTensors,
  { picked, targets, temperature }: LogprobRows,
): Tensor[] {
  const hidden_MD = pickedHidden(policy, sequences, picked);
  return lmHeadLogprobs(hidden_MD, policy.weights.head, targets, { temperature, chunkRows: HEAD_CHUNK_ROWS });
}
