/**
 * A layer of the transformer: attention and a gated MLP, each of which adds to the residual stream. Families differ in
 * which norms stand before and behind them, which layers are fused, the activation and the scales (families/).
 *
 * Shapes: N tokens of all sequences end to end, D hidden, F intermediate, H heads.
 */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { isTapeOn } from "../gpu/op.ts";
import { add } from "../ops/elementwise/add.ts";
import { fork } from "../ops/elementwise/fork.ts";
import { geglu } from "../ops/elementwise/geglu.ts";
import { swiglu } from "../ops/elementwise/swiglu.ts";
import { adaptedLinears, type AdaptedOptions } from "../ops/linear/adapted.ts";
import type { AdaptedLayer } from "../ops/linear/adapted_layer.ts";
import { adaptedSwiglu } from "../ops/linear/adapted_swiglu.ts";
import type { RowCount } from "../ops/linear/choice.ts";
import { addMemberParts } from "../ops/population/member_linears.ts";
import { residualNorm } from "../ops/norm/residual_norm.ts";
import { type NormOptions, rmsNorm } from "../ops/norm/rms_norm.ts";
import { splitColumns } from "../ops/rows/columns.ts";
import type { Weight } from "../ops/weight/weight.ts";
import type { Activation, ModelConfig } from "./families/family.ts";
import type { LayerWeights } from "./families/layout.ts";
import type { Attend, Trunk } from "./trunk.ts";

/** How a model's rows are normed. */
export const normOptions = ({ rmsNormEps, unitOffsetNorms }: ModelConfig): NormOptions => ({
  eps: rmsNormEps,
  unitOffset: unitOffsetNorms,
});

/** RMS norm of each head of its own, or of all at once, where the model has one. @param x_NH f32 [N, heads*headDim] */
function normHeads(x_NH: Tensor, weight: Weight | undefined, config: ModelConfig): Tensor {
  if (!weight) return x_NH;
  const rows = tf.reshape(x_NH, [-1, weight.shape[0]]);
  return tf.reshape(rmsNorm(rows, weight, normOptions(config)), x_NH.shape);
}

/** A linear layer's weight and bias. */
type LayerPart = [weight: Weight, bias: Weight | undefined];

/** The linear layers of a part of the model, with their adapters. */
const adapted = ({ adapters }: Trunk, layers: readonly LayerPart[]): AdaptedLayer[] =>
  layers.map(([weight, bias]) => ({ weight, bias, adapter: adapters?.byWeight.get(weight) }));

/** Linear layers of one x, with their adapters, and with what the rows' members perturb of their weights. */
function linearParts(
  trunk: Trunk,
  x: Tensor,
  parts: readonly LayerPart[],
  options: AdaptedOptions,
): Tensor[] {
  const ys = adaptedLinears(x, adapted(trunk, parts), options);
  if (!trunk.perturbed) return ys;
  const { byWeight, members } = trunk.perturbed;
  addMemberParts(x, ys, parts.map(([weight]) => byWeight.get(weight)), members);
  return ys;
}

/** What a layer adds to the residual stream. */
interface Branch {
  /** f32 [N, inputs of the part] */
  x: Tensor;
  part: LayerPart;
  /** Of what it adds, where the model has one. */
  norm: Weight | undefined;
}

/** stream + scale norm(x W^T + bias), with the adapter's part where W has one. */
function addLayer(trunk: Trunk, stream_ND: Tensor, { x, part, norm }: Branch, rows: RowCount): Tensor {
  const { config } = trunk;
  if (!norm && config.residualScale === 1) {
    return linearParts(trunk, x, [part], { residual: stream_ND, rows })[0];
  }
  const [made] = linearParts(trunk, x, [part], { rows });
  return add(stream_ND, norm ? rmsNorm(made, norm, normOptions(config)) : made, config.residualScale);
}

/** The stream, and what a layer reads of it: normed, where the model has a norm there. */
function branchOff(
  { config }: Trunk,
  x_ND: Tensor,
  norm: Weight | undefined,
): [stream: Tensor, input: Tensor] {
  return norm ? residualNorm(x_ND, norm, normOptions(config)) : fork(x_ND);
}

/** Queries, keys and values, not rotated yet. */
function attentionInputs(trunk: Trunk, weights: LayerWeights, x_ND: Tensor, rows: RowCount): Tensor[] {
  const { query, key, value, queryKeyValue, queryBias, keyBias, valueBias } = weights;
  if (queryKeyValue) {
    const { heads, kvHeads, headDim } = trunk.config;
    const [all] = linearParts(trunk, x_ND, [[queryKeyValue, undefined]], { rows });
    return splitColumns(all, [heads * headDim, kvHeads * headDim, kvHeads * headDim]);
  }
  return linearParts(trunk, x_ND, [[query!, queryBias], [key!, keyBias], [value!, valueBias]], { rows });
}

/** What a token attends to, and whether each row is one token's. */
interface LayerTokens {
  attend: Attend;
  rows: RowCount;
}

/** The residual stream behind layer l. @param x_ND f32 [N,D] @returns f32 [N,D] */
export function layerForward(trunk: Trunk, l: number, x_ND: Tensor, { attend, rows }: LayerTokens): Tensor {
  const weights: LayerWeights = trunk.weights.layers[l];
  const { config } = trunk;
  const [stream_ND, input_ND] = branchOff(trunk, x_ND, weights.inputNorm);
  const [q, k, v] = attentionInputs(trunk, weights, input_ND, rows);
  const [queries, keys] = [normHeads(q, weights.queryNorm, config), normHeads(k, weights.keyNorm, config)];
  const context_NH = attend(l, queries, keys, v);
  const attention: Branch = {
    x: context_NH,
    part: [weights.output, weights.outputBias],
    norm: weights.outputNorm,
  };
  const attended_ND = addLayer(trunk, stream_ND, attention, rows);
  const [middle_ND, mlpInput_ND] = branchOff(trunk, attended_ND, weights.mlpNorm);
  const gated_NF = gatedInput(trunk, weights, mlpInput_ND, rows);
  const mlp: Branch = { x: gated_NF, part: [weights.down, weights.downBias], norm: weights.downNorm };
  return addLayer(trunk, middle_ND, mlp, rows);
}

const GATES: Record<Activation, (gate: Tensor, up: Tensor) => Tensor> = { silu: swiglu, gelu_tanh: geglu };

/** activation(x gate^T) * (x up^T): in one kernel where nothing of it is needed later. @returns f32 [N,F] */
function gatedInput(trunk: Trunk, weights: LayerWeights, x_ND: Tensor, rows: RowCount): Tensor {
  const { gate, gateBias, up, upBias, gateUp } = weights;
  const { activation, intermediateSize } = trunk.config;
  if (gateUp) {
    const [both] = linearParts(trunk, x_ND, [[gateUp, undefined]], { rows });
    const [gates, ups] = splitColumns(both, [intermediateSize, intermediateSize]);
    return GATES[activation](gates, ups);
  }
  const parts: LayerPart[] = [[gate!, gateBias], [up!, upBias]];
  if (activation === "silu" && !isTapeOn() && !trunk.perturbed) {
    const [gateLayer, upLayer] = adapted(trunk, parts);
    return adaptedSwiglu(x_ND, gateLayer, upLayer, rows);
  }
  const [gates, ups] = linearParts(trunk, x_ND, parts, { rows });
  return GATES[activation](gates, ups);
}
