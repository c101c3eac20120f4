/** Root-mean-square norm over the last dimension (arXiv:1910.07467), as in Llama. */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { deviceLimits, hasNarrowSubgroups, isSoftwareDevice, suitsTiles } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid, inVec4s, lanesForRow } from "../../gpu/grids.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import type { Weight } from "../weight/weight.ts";

/** How rows are normed. */
export interface NormOptions {
  /** Added to the mean square. */
  eps: number;
  /** Rows are multiplied by 1 + weight, as in Gemma. */
  unitOffset?: boolean;
}

interface RmsNormAttrs extends NormOptions {
  weightGrad: Tensor | null;
}

/** Lanes of a row and of a workgroup (kernels/lib/rows.wgsl): with whole vec4s several rows share one. */
function rowLaunch(rows: number, width: number) {
  const VEC4 = width % 4 === 0;
  const LANES = !VEC4 ? lanesForRow(width) : hasNarrowSubgroups() ? 8 : 32;
  const WG = VEC4 ? 64 : LANES;
  return {
    conditions: { VEC4 },
    constants: { WG, LANES },
    workgroups: foldGrid(Math.ceil(rows * LANES / WG)),
  };
}

/** From so many values on a row is work for a whole workgroup of a GPU. */
const WIDE_ROW = 1024;
const WIDE_LANES = 256;
/** Of the chains of a row and what joins them. */
const SUM_BYTES = 256;

/** As rowLaunch, but one row a workgroup where that is faster: the chains, and so the bits, are the same. */
function normLaunch(rows: number, width: number) {
  const { maxComputeInvocationsPerWorkgroup: lanes, maxComputeWorkgroupStorageSize: bytes } = deviceLimits();
  const isStaged = width % 4 === 0 && width >= WIDE_ROW && !isSoftwareDevice() && lanes >= WIDE_LANES &&
    4 * width + SUM_BYTES <= bytes;
  if (!isStaged) return rowLaunch(rows, width);
  return {
    conditions: { VEC4: true, STAGED: true },
    constants: { WG: WIDE_LANES, LANES: WIDE_LANES, QUADS: width / 4 },
    workgroups: foldGrid(rows),
  };
}

/** @returns y [R,D] and rstd [R] */
export function runRmsNorm(
  x: TensorInfo,
  w: TensorInfo,
  { eps, unitOffset = false }: NormOptions,
): [TensorInfo, TensorInfo] {
  const [rows, width] = x.shape;
  const y = newTensor([rows, width]);
  const rstd = newTensor([rows]);
  const { conditions, ...launch } = normLaunch(rows, width);
  runKernel({
    kernel: "rms_norm",
    conditions: { ...conditions, UNIT_OFFSET: unitOffset },
    ...launch,
    bindings: { x, w, y, rstd },
    params: { rows, width, eps },
  });
  return [y, rstd];
}

interface NormInputs<T> {
  x: T;
  w: T;
  rstd: T;
  dy: T;
}

/** What a norm's gradient needs beside its inputs. */
export type NormGradAttrs = Pick<RmsNormAttrs, "unitOffset" | "weightGrad">;

/** dx, or dsum + dx in one pass; adds to `weightGrad` where there is one. @param dsum f32 [R,D] */
export function runRmsNormGrad(
  { x, w, rstd, dy }: NormInputs<TensorInfo>,
  { unitOffset = false, weightGrad }: NormGradAttrs,
  dsum?: TensorInfo,
): TensorInfo {
  const [rows, columns] = x.shape;
  const dx = newTensor([rows, columns]);
  const { conditions, ...launch } = rowLaunch(rows, columns);
  runKernel({
    kernel: "rms_norm_grad",
    conditions: { ...conditions, RESIDUAL: dsum !== undefined, UNIT_OFFSET: unitOffset },
    ...launch,
    bindings: { x, w, rstd, dy, dsum, dx },
    params: { rows, width: columns },
  });
  if (weightGrad) addGradOfWeight({ x, rstd, dy }, weightGrad);
  return dx;
}

/** Lanes of a workgroup that goes through all rows of a GPU's, and so many columns of it at the least and most. */
const SLAB_LANES = 256;
const [LEAST_COLUMNS, MOST_COLUMNS] = [8, 32];
/** Workgroups that keep a GPU of a hundred or so processors busy. */
const ENOUGH_WORKGROUPS = 128;

/** weightGrad += sum of dy x rstd over the rows, in order: all kernels give the same bits. */
function addGradOfWeight(inputs: Omit<NormInputs<TensorInfo>, "w">, weightGrad: Tensor): void {
  const [rows, columns] = inputs.x.shape;
  const bindings = { ...inputs, dw: weightGrad };
  if (suitsTiles()) {
    let COLUMNS = MOST_COLUMNS;
    while (COLUMNS > LEAST_COLUMNS && columns / COLUMNS < ENOUGH_WORKGROUPS) COLUMNS /= 2;
    runKernel({
      kernel: "rms_norm_weight_grad_slabs",
      constants: { WG: SLAB_LANES, COLUMNS },
      bindings,
      params: { rows, width: columns },
      workgroups: foldGrid(Math.ceil(columns / COLUMNS)),
    });
    return;
  }
  const { conditions, count: width } = inVec4s(columns);
  runKernel({
    kernel: "rms_norm_weight_grad",
    conditions,
    constants: { WG: 8 },
    bindings,
    params: { rows, width },
    workgroups: foldGrid(Math.ceil(width / 8)),
  });
}

const rmsNormOp = defineOp<"x" | "w", RmsNormAttrs>({
  name: "GrpoRmsNorm",
  forward: ({ x, w }, options) => runRmsNorm(x, w, options),
  saves: { inputs: ["x", "w"], outputs: [false, true] },
  gradient(dys, [x, w, rstd], attrs) {
    const dy = (dys as Tensor[])[0];
    return { x: () => rmsNormGradOp({ x, w, rstd, dy }, attrs)[0] };
  },
});

const rmsNormGradOp = defineOp<keyof NormInputs<Tensor>, NormGradAttrs>({
  name: "GrpoRmsNormGrad",
  forward: (inputs, attrs) => runRmsNormGrad(inputs, attrs),
});

/**
 * y = x / sqrt(mean(x^2) + eps) * w, row by row; with `unitOffset` * (1 + w).
 * @param x f32 [R,D]
 * @param weight f32 [D]; its `grad`, when it has one, is added to in backward
 * @returns f32 [R,D]
 */
export function rmsNorm(x: Tensor, weight: Weight, options: NormOptions): Tensor {
  return rmsNormOp({ x, w: weight.tensor }, { ...options, weightGrad: weight.grad })[0];
}

/** Sizes of x [rows, width], and what is added to its mean square. */
export interface NormSizes {
  rows: number;
  width: number;
  eps: number;
  unitOffset?: boolean;
}

/** What rows are multiplied by. */
const factorsOf = (w: ArrayLike<number>, { unitOffset }: NormSizes) =>
  Float64Array.from(w, (value) => unitOffset ? 1 + value : value);

/** Twin of rms_norm.wgsl in f64. @returns y [R,D] and rstd [R] */
export function rmsNormF64(x: ArrayLike<number>, w: ArrayLike<number>, sizes: NormSizes) {
  const { rows, width, eps } = sizes;
  const factors = factorsOf(w, sizes);
  const y = new Float64Array(rows * width);
  const rstd = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    let squares = 0;
    for (let d = 0; d < width; d++) squares += x[r * width + d] ** 2;
    rstd[r] = 1 / Math.sqrt(squares / width + eps);
    for (let d = 0; d < width; d++) y[r * width + d] = x[r * width + d] * rstd[r] * factors[d];
  }
  return { y, rstd };
}

/**
 * Twin of rms_norm_grad.wgsl, rms_norm_weight_grad.wgsl and rms_norm_weight_grad_slabs.wgsl in f64.
 * @returns dx [R,D] and dw [D]
 */
export function rmsNormGradF64(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  dy: ArrayLike<number>,
  sizes: NormSizes,
) {
  const { rows, width } = sizes;
  const factors = factorsOf(w, sizes);
  const { rstd } = rmsNormF64(x, w, sizes);
  const dx = new Float64Array(rows * width);
  const dw = new Float64Array(width);
  for (let r = 0; r < rows; r++) {
    let dot = 0;
    for (let d = 0; d < width; d++) dot += dy[r * width + d] * factors[d] * x[r * width + d];
    for (let d = 0; d < width; d++) {
      const i = r * width + d;
      dx[i] = rstd[r] * (dy[i] * factors[d] - x[i] * rstd[r] ** 2 * dot / width);
      dw[d] += dy[i] * x[i] * rstd[r];
    }
  }
  return { dx, dw };
}
