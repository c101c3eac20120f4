/**
 * Linear layers of one x with low-rank adapters beside their weights (LoRA, arXiv:2106.09685):
 * y_i = x W_i^T + bias_i + scale_i (x A_i^T) B_i^T.
 */
import * as tf from "@tensorflow/tfjs";
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { isSoftwareDevice } from "../../gpu/device_facts.ts";
import { defineOp, isTapeOn } from "../../gpu/op.ts";
import { matmulPrecision } from "../../gpu/precision.ts";
import { disposeInfo, newTensor } from "../../gpu/tensors.ts";
import { runAdd } from "../elementwise/add.ts";
import { type AdaptedLayer, adaptersOf, assertAdapterFits, type LinearAdapter } from "./adapted_layer.ts";
import type { RowCount } from "./choice.ts";
import { type LowRank, runLinear, runLinearGradBias, runLinearGradW, runLinearGradX } from "./dispatch.ts";
import { fewLayers } from "./few_layers.ts";
import { type SharedHalves, withHalves } from "./halves.ts";
import { assertFits, assertResidualFits, linear, linears } from "./linear.ts";
import { runLoraLows, runLoraPull } from "./lora_shrink.ts";

export interface AdaptedOptions {
  /** f32 [M,N], added to the output of the only layer; the tape differentiates it too. */
  residual?: Tensor;
  /** "many" unless given. */
  rows?: RowCount;
}

interface AdaptedAttrs {
  layers: readonly AdaptedLayer[];
  rowCount: RowCount;
  hasResidual: boolean;
}

/** One layer's output, of what its A made of x. */
function runAdaptedLayer(
  x: TensorInfo,
  { weight, bias, adapter }: AdaptedLayer,
  low: TensorInfo | undefined,
  { residual, ...options }: { rowCount: RowCount; halves: SharedHalves; residual?: TensorInfo },
): TensorInfo {
  const [rows, shape] = [x.shape[0], [x.shape[0], weight.shape[0]]];
  const run = { x: { tensor: x }, weight, bias, rows, ...options };
  const y = newTensor(shape);
  if (!adapter || !isSoftwareDevice()) {
    const lowRank: LowRank | undefined = adapter && { low: low!, b: adapter.b, scale: adapter.scale };
    runLinear({ ...run, lowRank, residual: residual && { tensor: residual }, y: { tensor: y } });
    return y;
  }
  // A CPU multiplies faster in tiles than output by output.
  const added = newTensor(shape);
  runLinear({ ...run, y: { tensor: y } });
  const expand = { x: { tensor: low! }, weight: adapter.b, y: { tensor: added } };
  runLinear({ ...expand, rows, rowCount: options.rowCount, precision: "float32" });
  const adapted = runAdd(y, added, adapter.scale);
  [y, added].forEach(disposeInfo);
  if (!residual) return adapted;
  const sum = runAdd(residual, adapted, 1);
  disposeInfo(adapted);
  return sum;
}

/** Gradients of the outputs, and what the adapters' A made of x. */
type GradInput = "x" | `dy${number}` | `low${number}`;

/** The pull at low = x A^T, and what it leaves in B; its caller disposes of it. In float32, one chain of outputs. */
function runExpandGrad(dy: TensorInfo, low: TensorInfo, { b, scale }: LinearAdapter): TensorInfo {
  const rows = dy.shape[0];
  const scaled = scale === 1 ? dy : runAdd(null, dy, scale);
  const dlow = newTensor(low.shape);
  runLinearGradX({ dy: { tensor: scaled }, weight: b, dx: { tensor: dlow }, rows });
  runLinearGradW({ dy: { tensor: scaled }, x: { tensor: low }, weight: b, rows });
  if (scaled !== dy) disposeInfo(scaled);
  return dlow;
}

/** What an adapter's output leaves in B, on matrix units: the scale goes to the ranks, so that dy stays as it is. */
function runHalvedExpandGradW(
  dy: TensorInfo,
  low: TensorInfo,
  { b, scale }: LinearAdapter,
  dyHalves: SharedHalves,
): void {
  const scaled = scale === 1 ? low : runAdd(null, low, scale);
  const run = { dy: { tensor: dy }, x: { tensor: scaled }, weight: b, rows: dy.shape[0] };
  runLinearGradW({ ...run, dyHalves });
  if (scaled !== low) disposeInfo(scaled);
}

/** dx is one chain: over the outputs of the layers in order, then over the ranks of their adapters. */
const adaptedGradOp = defineOp<GradInput, AdaptedAttrs>({
  name: "GrpoAdaptedLinearGrad",
  forward(inputs, { layers }) {
    const x = { tensor: inputs.x };
    const [rows, width] = inputs.x.shape;
    const dx = { tensor: newTensor(inputs.x.shape) };
    const isHalved = matmulPrecision() === "float16";
    withHalves({ matrix: x, rows, width }, (xHalves) => {
      layers.forEach(({ weight, bias, adapter }, i) => {
        const dy = { tensor: inputs[`dy${i}`] };
        withHalves({ matrix: dy, rows, width: weight.shape[0] }, (halves) => {
          runLinearGradX({ dy, weight, dx, rows, adds: i > 0, halves });
          runLinearGradW({ dy, x, weight, rows, dyHalves: halves, xHalves });
          if (adapter && isHalved) runHalvedExpandGradW(dy.tensor, inputs[`low${i}`], adapter, halves);
        });
        if (bias) runLinearGradBias({ dy, bias, rows });
      });
      layers.forEach(({ adapter }, i) => {
        if (!adapter) return;
        const dy = inputs[`dy${i}`];
        const dlow = isHalved
          ? runLoraPull(dy, adapter.b, adapter.scale)
          : runExpandGrad(dy, inputs[`low${i}`], adapter);
        const pull = { dy: { tensor: dlow }, weight: adapter.a, rows };
        withHalves({ matrix: pull.dy, rows, width: dlow.shape[1] }, (halves) => {
          runLinearGradX({ ...pull, dx, adds: true, halves });
          runLinearGradW({ ...pull, x, dyHalves: halves, xHalves });
        });
        disposeInfo(dlow);
      });
    });
    return dx.tensor;
  },
});

/** Of layers of which so many have adapters. Outputs: what each A made of x, which backward needs; then the y. */
function adaptedOpOf(adapters: number) {
  return defineOp<"x" | "residual", AdaptedAttrs>({
    name: `GrpoAdaptedLinear${adapters}`,
    forward({ x, residual }, { layers, rowCount }) {
      const lows = runLoraLows(x, adaptersOf(layers).map(({ a }) => a));
      const lowOf = lowsByLayer(layers, lows);
      const [rows, width] = x.shape;
      return withHalves({ matrix: { tensor: x }, rows, width }, (halves) => [
        ...lows,
        ...layers.map((layer, i) => runAdaptedLayer(x, layer, lowOf[i], { rowCount, residual, halves })),
      ]);
    },
    saves: { inputs: ["x"], outputs: Array(adapters).fill(true) },
    gradient(dys, [x, ...lows], attrs) {
      const pulls = (dys as Tensor[]).slice(adapters);
      const named: Partial<Record<GradInput, Tensor>> = {};
      pulls.forEach((dy, i) => named[`dy${i}`] = dy);
      lowsByLayer(attrs.layers, lows).forEach((low, i) => low && (named[`low${i}`] = low));
      const dx = () => adaptedGradOp({ x, ...named } as Record<GradInput, Tensor>, attrs)[0];
      return attrs.hasResidual ? { x: dx, residual: () => pulls[0].clone() } : { x: dx };
    },
  });
}

/** What belongs to each layer, undefined where it has no adapter. */
function lowsByLayer<T>(layers: readonly AdaptedLayer[], lows: readonly T[]): (T | undefined)[] {
  let next = 0;
  return layers.map(({ adapter }) => adapter ? lows[next++] : undefined);
}

const ops = new Map<number, ReturnType<typeof adaptedOpOf>>();

/**
 * Several linear layers of one x, as queries, keys and values are, each with its adapter where it has one:
 * y_i = x W_i^T + bias_i + scale_i (x A_i^T) B_i^T + residual. The adapter's products are f32 in every precision.
 * @param x f32 [M,K]
 * @returns f32 [M,N_i], one for each layer
 * @throws RangeError when the shapes do not fit, or a residual is given for several layers
 */
export function adaptedLinears(
  x: Tensor,
  layers: readonly AdaptedLayer[],
  { residual, rows = "many" }: AdaptedOptions = {},
): Tensor[] {
  layers.forEach((layer) => {
    assertFits(x, layer.weight, layer.bias);
    assertAdapterFits(layer);
  });
  if (residual && layers.length !== 1) {
    throw new RangeError(`Cannot add one residual to ${layers.length} layers: need one layer`);
  }
  if (residual) assertResidualFits(x, layers[0].weight, residual);
  const few = fewLayers(x, layers, { residual, rows });
  if (few) return few;
  const adapters = adaptersOf(layers).length;
  if (adapters === 0) {
    if (residual) return [linear(x, layers[0].weight, { bias: layers[0].bias, residual, rows })];
    return linears(x, layers.map(({ weight }) => weight), { biases: layers.map(({ bias }) => bias), rows });
  }
  if (!ops.has(adapters)) ops.set(adapters, adaptedOpOf(adapters));
  const inputs = (residual ? { x, residual } : { x }) as Record<"x" | "residual", Tensor>;
  const attrs = { layers, rowCount: rows, hasResidual: residual !== undefined };
  const made = ops.get(adapters)!(inputs, attrs);
  if (!isTapeOn()) tf.dispose(made.slice(0, adapters));
  return made.slice(adapters);
}
