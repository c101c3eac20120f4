/** Up to three linear layers of few rows of one input in one dispatch, on matrix units: linear_few_matrix.wgsl. */
import type { TensorInfo } from "@tensorflow/tfjs";
import { bindingLimit, deviceLimits } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import type { Binding } from "../../gpu/tensors.ts";
import { bytesOf, FORMAT_CODE, type Weight } from "../weight/weight.ts";
import { weightShift } from "../weight/weight_shift.ts";
import { openFacts } from "./facts.ts";
import { FEW_MATRIX_KERNEL, fewMatrixSize, fewMatrixTile } from "./few_matrix_tiles.ts";
import type { Halves } from "./halves.ts";

/** What one layer takes part with. */
export interface FewLayer {
  weight: Weight;
  bias?: Weight | null;
  adapter?: { b: Weight; scale: number };
}

export interface FewMatrixRun {
  /** Of x. */
  halves: Halves;
  rows: number;
  layers: readonly FewLayer[];
  /** f32 [M,N] of each layer; `isGated`: one alone, silu of the first layer times the second. */
  outputs: readonly Binding[];
  isGated?: boolean;
  /** Of what the adapters' A make of x, their ranks in the order of the layers: f32 [count, M, ranks]. */
  low?: { tensor: TensorInfo; count: number; ranks: number };
  /** As the only output. */
  residual?: Binding | null;
}

const MOST_LAYERS = 3;

/** Storage bindings of a dispatch of these layers. */
function bindingsOf(layers: readonly FewLayer[], isGated: boolean): number {
  const adapters = layers.some(({ adapter }) => adapter) ? 1 + layers.length : 0;
  return 2 + 3 * layers.length + biasesOf(layers).length + adapters + (isGated ? -1 : 0);
}

const biasesOf = (layers: readonly FewLayer[]): Weight[] => layers.flatMap(({ bias }) => bias ?? []);

const isAlike = (weights: readonly Weight[]) => weights.every(({ format }) => format === weights[0].format);

/** Whether one dispatch takes these layers: as many bindings, and whole weights of one width and format. */
export function fitsFewMatrix(layers: readonly FewLayer[], isGated: boolean): boolean {
  const weights = layers.map(({ weight }) => weight);
  const isWhole = ({ shape: [N, K], format }: Weight) => N * bytesOf(format, K) <= bindingLimit();
  return layers.length <= MOST_LAYERS && weights.every(isWhole) &&
    weights.every(({ shape }) => shape[1] === weights[0].shape[1]) && isAlike(weights) &&
    isAlike(biasesOf(layers)) && isAlike(layers.flatMap(({ adapter }) => adapter?.b ?? [])) &&
    bindingsOf(layers, isGated) <= deviceLimits().maxStorageBuffersPerShaderStage;
}

/** "", "2" and "3" behind the names of the layers' bindings and params. */
const suffix = (i: number) => i === 0 ? "" : String(i + 1);

/** What each layer has under a name of its own, those without left out. */
function named<T>(name: string, values: readonly (T | undefined)[]): Record<string, T> {
  const entries = values.flatMap((value, i) => value === undefined ? [] : [[`${name}${suffix(i)}`, value]]);
  return Object.fromEntries(entries);
}

/** y_i = x W_i^T + bias_i + scale_i low_i B_i^T + residual. @param run `fitsFewMatrix`, and K whole 16 bytes of W */
export function runLinearFewMatrix(run: FewMatrixRun): void {
  const { halves, rows, layers, outputs, isGated = false, low, residual } = run;
  const { matrixUnit: unit, maxSubgroupSize } = openFacts;
  const columns = layers.map(({ weight }) => weight.shape[0]);
  const tile = fewMatrixTile({ rows, columns: columns.reduce((sum, each) => sum + each) }, openFacts);
  if (!tile) throw new RangeError(`Cannot take ${rows} rows for few: need another kernel`);
  const size = fewMatrixSize(tile, unit);
  const tiles = isGated
    ? Math.ceil(columns[0] / (size.columns / 2))
    : columns.reduce((sum, each) => sum + Math.ceil(each / size.columns), 0);
  const adapters = layers.map(({ adapter }) => adapter);
  const [bias] = biasesOf(layers);
  const firstB = adapters.find((adapter) => adapter)?.b;
  runKernel({
    kernel: FEW_MATRIX_KERNEL,
    conditions: {
      UNIT8: unit === 8,
      SECOND: layers.length > 1,
      THIRD: layers.length > 2,
      GATED: isGated,
      ...Object.fromEntries(layers.map(({ bias }, i) => [`BIAS${suffix(i)}`, bias != null])),
      RESIDUAL: residual != null,
      ADAPTER: low !== undefined,
    },
    constants: {
      ...tile,
      SUBGROUP: maxSubgroupSize,
      FORMAT: FORMAT_CODE[layers[0].weight.format],
      ...(bias ? { BIAS_FORMAT: FORMAT_CODE[bias.format] } : {}),
      ...(low ? { B_FORMAT: FORMAT_CODE[firstB!.format] } : {}),
    },
    bindings: {
      a: halves.values,
      a_shift: halves.shift,
      ...named("w", layers.map(({ weight }) => weight.tensor)),
      ...named("w_shift", layers.map(({ weight }) => weightShift(weight))),
      ...named("y", outputs),
      ...named("bias", layers.map(({ bias }) => bias?.tensor)),
      residual: residual ?? undefined,
      parts: low?.tensor,
      // A layer without an adapter has the rank 0, and reads nothing of what is bound for it.
      ...(low ? named("lora_b", adapters.map((adapter) => (adapter?.b ?? firstB!).tensor)) : {}),
    },
    params: {
      rows,
      width: layers[0].weight.shape[1],
      pitch: halves.pitch,
      ...named("columns", columns),
      ...(low
        ? {
          ranks: low.ranks,
          count: low.count,
          ...named("rank", adapters.map((adapter) => adapter?.b.shape[1] ?? 0)),
          ...named("scale", adapters.map((adapter) => adapter?.scale ?? 0)),
        }
        : {}),
    },
    workgroups: [tiles, Math.ceil(rows / size.rows), 1],
  });
}
