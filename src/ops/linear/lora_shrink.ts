/**
 * What the matrices A of adapters make of an input: low = x A^T, f32 in every precision; and what B passes back. The
 * sum over k is made in parts of 256, whatever the kernel and the rows, and the parts are added in order, so that no
 * bit depends on either.
 */
import type { TensorInfo } from "@tensorflow/tfjs";
import { deviceLimits, isSoftwareDevice } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { disposeInfo, newTensor } from "../../gpu/tensors.ts";
import type { Conditions } from "../../gpu/wgsl.ts";
import { FORMAT_CODE, type Weight, type WeightFormat } from "../weight/weight.ts";
import { type LayerSizes, valuesPerLoad } from "./choice.ts";
import { runLinear } from "./dispatch.ts";
import { type Halves, makeHalves, newHalves } from "./halves.ts";

/** Terms of a part: PART in kernels/lib/lora_shrink.wgsl. */
export const PART = 256;
/** Matrices of one x that a kernel takes. */
const MOST_MATRICES = 3;
const LANES = { software: 8, gpu: 64 };

/** The partial sums of several matrices, one beside the other. The caller disposes of the tensor. */
export interface LoraParts {
  /** f32 [count, M, ranks] */
  tensor: TensorInfo;
  count: number;
  /** Of all matrices. */
  ranks: number;
  /** Where each matrix begins. */
  firsts: readonly number[];
}

interface Tile {
  RUN: number;
  DEPTH: number;
}

/** The tile whose slabs a device holds; undefined where it has no fast workgroup memory or too little. */
function tileOf(rows: number): Tile | undefined {
  if (isSoftwareDevice()) return undefined;
  const { maxComputeInvocationsPerWorkgroup: lanes, maxComputeWorkgroupStorageSize: bytes } = deviceLimits();
  const RUN = rows <= 64 ? 1 : 4;
  const fits = (DEPTH: number) => 16 * (DEPTH + 1) * 16 * (RUN + 1) <= bytes;
  const DEPTH = [32, 16, 8].find(fits);
  return lanes < 256 || DEPTH === undefined ? undefined : { RUN, DEPTH };
}

function sizesOf(x: TensorInfo, matrices: readonly Weight[]) {
  const [rows, width] = x.shape;
  const firsts = matrices.map((_, i) => matrices.slice(0, i).reduce((sum, { shape }) => sum + shape[0], 0));
  const ranks = firsts.at(-1)! + matrices.at(-1)!.shape[0];
  const params = { rows, width, ranks, second: firsts[1] ?? ranks, third: firsts[2] ?? ranks };
  return { firsts, params, count: Math.ceil(width / PART) };
}

/** What the kernels take of the matrices. */
const operandsOf = (matrices: readonly Weight[]) => ({
  conditions: { VEC4: true, SECOND: matrices.length > 1, THIRD: matrices.length > 2 },
  bindings: { a: matrices[0].tensor, a2: matrices[1]?.tensor, a3: matrices[2]?.tensor },
});

/** Workgroups of the tiles: of ranks, rows and parts. */
const tilesOf = ({ RUN }: Tile, { rows, ranks }: { rows: number; ranks: number }, count: number) =>
  [Math.ceil(ranks / 16), Math.ceil(rows / (16 * RUN)), count] as [number, number, number];

interface ShrinkRun {
  /** Undefined: a thread makes what it loads. */
  tile: Tile | undefined;
  conditions: Conditions;
  /** Of the matrices. */
  format: WeightFormat;
  bindings: Record<string, TensorInfo | undefined>;
  params: Record<"rows" | "width" | "ranks" | "second" | "third", number>;
}

function runShrink({ tile, conditions, format, bindings, params }: ShrinkRun): void {
  const { rows, width, ranks } = params;
  const count = Math.ceil(width / PART);
  const WG = isSoftwareDevice() ? LANES.software : LANES.gpu;
  const threads = count * Math.ceil(rows / 4) * Math.ceil(ranks / 4);
  runKernel({
    kernel: tile ? "lora_shrink_tile" : "lora_shrink",
    conditions,
    constants: { ...(tile ?? { WG }), FORMAT: FORMAT_CODE[format] },
    bindings,
    params,
    workgroups: tile ? tilesOf(tile, params, count) : foldGrid(Math.ceil(threads / WG)),
  });
}

/**
 * Partial sums of x A^T of up to three matrices of one width.
 * @param x f32 [M,K]
 * @param matrices [rank, K] each, of one format
 */
export function runLoraShrink(x: TensorInfo, matrices: readonly Weight[]): LoraParts {
  const [{ format }] = matrices;
  const { firsts, params, count } = sizesOf(x, matrices);
  const { rows, width, ranks } = params;
  const tensor = newTensor([count, rows, ranks]);
  const VEC4 = width % valuesPerLoad(format) === 0;
  const { conditions, bindings } = operandsOf(matrices);
  runShrink({
    tile: VEC4 ? tileOf(rows) : undefined,
    conditions: { ...conditions, VEC4 },
    format,
    bindings: { x, ...bindings, parts: tensor },
    params,
  });
  return { tensor, count, ranks, firsts };
}

/**
 * What an adapter's B passes back to its ranks: scale dy B, f32, in the parts of runLoraShrink.
 * @param dy f32 [M,N]
 * @param b [N, rank]
 * @returns f32 [M, rank]
 */
export function runLoraPull(dy: TensorInfo, b: Weight, scale: number): TensorInfo {
  const [rows, width] = dy.shape;
  const [, ranks] = b.shape;
  const count = Math.ceil(width / PART);
  const tensor = newTensor([count, rows, ranks]);
  runShrink({
    tile: width % 4 === 0 ? tileOf(rows) : undefined,
    conditions: { VEC4: width % 4 === 0, TRANSPOSED: true },
    format: b.format,
    bindings: { x: dy, a: b.tensor, parts: tensor },
    params: { rows, width, ranks, second: ranks, third: ranks },
  });
  const parts = { tensor, count, ranks, firsts: [0] };
  const dlow = runLoraLow(parts, 0, ranks, scale);
  disposeInfo(tensor);
  return dlow;
}

/**
 * `runLoraShrink` and `makeHalves` of one x: in one dispatch on GPUs, where neither waits for the other.
 * @param matrices of one format, K whole 16 bytes of it
 */
export function runHalvesShrink(
  x: TensorInfo,
  matrices: readonly Weight[],
): { halves: Halves; parts: LoraParts } {
  const { firsts, params, count } = sizesOf(x, matrices);
  const { rows, width, ranks } = params;
  const tile = tileOf(rows);
  if (!tile) {
    return { halves: makeHalves({ matrix: { tensor: x }, rows, width }), parts: runLoraShrink(x, matrices) };
  }
  const halves = newHalves(rows, width);
  const tensor = newTensor([count, rows, ranks]);
  const { conditions, bindings } = operandsOf(matrices);
  runKernel({
    kernel: "halves_shrink",
    conditions,
    constants: { ...tile, FORMAT: FORMAT_CODE[matrices[0].format] },
    bindings: { x, ...bindings, parts: tensor, values: halves.values, shift: halves.shift },
    params,
    workgroups: [rows + tilesOf(tile, params, count).reduce((product, size) => product * size), 1, 1],
  });
  return { halves, parts: { tensor, count, ranks, firsts } };
}

/** scale times the parts of one matrix, added. @returns f32 [M, rank] */
export function runLoraLow(parts: LoraParts, first: number, rank: number, scale = 1): TensorInfo {
  const [count, rows] = parts.tensor.shape;
  const low = newTensor([rows, rank]);
  const WG = isSoftwareDevice() ? LANES.software : LANES.gpu;
  runKernel({
    kernel: "lora_low",
    constants: { WG },
    bindings: { parts: parts.tensor, low },
    params: { rows, rank, ranks: parts.ranks, first, count, scale },
    workgroups: foldGrid(Math.ceil(rows * rank / WG)),
  });
  return low;
}

/** low_i = x A_i^T, f32 [M, rank_i]. A sum of one part is a linear layer's. @param matrices of one width */
export function runLoraLows(x: TensorInfo, matrices: readonly Weight[]): TensorInfo[] {
  const [rows, width] = x.shape;
  if (width <= PART) {
    return matrices.map((weight) => {
      const low = newTensor([rows, weight.shape[0]]);
      const bindings = { x: { tensor: x }, y: { tensor: low } };
      runLinear({ ...bindings, weight, rows, rowCount: "few", precision: "float32" });
      return low;
    });
  }
  return groupsOf(matrices).flatMap((group) => {
    const parts = runLoraShrink(x, group);
    const lows = group.map(({ shape: [rank] }, i) => runLoraLow(parts, parts.firsts[i], rank));
    disposeInfo(parts.tensor);
    return lows;
  });
}

/** In order, as many of one format as a kernel takes. */
function groupsOf(matrices: readonly Weight[]): Weight[][] {
  const groups: Weight[][] = [];
  for (const matrix of matrices) {
    const last = groups.at(-1);
    if (last && last.length < MOST_MATRICES && last[0].format === matrix.format) last.push(matrix);
    else groups.push([matrix]);
  }
  return groups;
}

/** Twin of lora_shrink.wgsl in f64, of one matrix [N,K]. @returns parts [ceil(K / 256), M, N] */
export function loraShrinkF64(
  x: ArrayLike<number>,
  a: ArrayLike<number>,
  { M, K, N }: LayerSizes,
): Float64Array {
  const count = Math.ceil(K / PART);
  return Float64Array.from({ length: count * M * N }, (_, i) => {
    const [part, m, r] = [Math.floor(i / (M * N)), Math.floor(i / N) % M, i % N];
    let sum = 0;
    for (let k = part * PART; k < Math.min(K, (part + 1) * PART); k++) sum += x[m * K + k] * a[r * K + k];
    return sum;
  });
}

/** Twin of lora_low.wgsl. @param parts [count, size] @returns their sums */
export function loraLowF64(parts: ArrayLike<number>, count: number): Float64Array {
  const size = parts.length / count;
  return Float64Array.from({ length: size }, (_, i) => {
    let sum = 0;
    for (let part = 0; part < count; part++) sum += parts[part * size + i];
    return sum;
  });
}
