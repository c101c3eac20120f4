/** Root-mean-square norm over the last dimension (arXiv:1910.07467), as in Llama. */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { maxSubgroupSize } from "../../gpu/device_facts.ts";
import { f32, runKernel, u32 } from "../../gpu/dispatch.ts";
import { foldGrid, lanesForRow } from "../../gpu/grids.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import type { Weight } from "../weight/weight.ts";

interface RmsNormAttrs {
  eps: number;
  weightGrad: Tensor | null;
}

/** What the kernels of four columns to a lane need, or null where the width is no multiple of 4. */
function fourWide(rows: number, width: number) {
  if (width % 4) return null;
  const LANES = maxSubgroupSize() <= 8 ? 8 : 32;
  return { constants: { LANES }, workgroups: foldGrid(Math.ceil(rows * LANES / 64)) };
}

/** How the kernels that only take widths of whole vec4s are run. @throws RangeError for another width */
export function vec4Rows(rows: number, width: number) {
  const launch = fourWide(rows, width);
  if (!launch) throw new RangeError(`Cannot take rows of ${width} four by four: need a multiple of 4`);
  return launch;
}

/** @returns y [R,D] and rstd [R] */
export function runRmsNorm(x: TensorInfo, w: TensorInfo, eps: number): [TensorInfo, TensorInfo] {
  const [rows, width] = x.shape;
  const y = newTensor([rows, width]);
  const rstd = newTensor([rows]);
  const launch = fourWide(rows, width);
  runKernel({
    kernel: launch ? "rms_norm_vec4" : "rms_norm",
    constants: launch?.constants ?? { WG: lanesForRow(width) },
    bindings: [{ tensor: x }, { tensor: w }, { tensor: y, written: true }, { tensor: rstd, written: true }],
    params: [u32(rows), u32(width), f32(eps)],
    workgroups: launch?.workgroups ?? foldGrid(rows),
  });
  return [y, rstd];
}

interface NormInputs<T> {
  x: T;
  w: T;
  rstd: T;
  dy: T;
}

/**
 * dx, or dsum + dx in one pass; adds to `weightGrad` where there is one.
 * @param dsum f32 [R,D], of a width that is a multiple of 4
 */
export function runRmsNormGrad(
  { x, w, rstd, dy }: NormInputs<TensorInfo>,
  weightGrad: Tensor | null,
  dsum?: TensorInfo,
): TensorInfo {
  const [rows, width] = x.shape;
  const dx = newTensor([rows, width]);
  const launch = dsum ? vec4Rows(rows, width) : fourWide(rows, width);
  const read = launch ? [x, w, rstd, dy, dsum ?? x] : [x, w, rstd, dy];
  const params = [u32(rows), u32(width)];
  runKernel({
    kernel: launch ? "rms_norm_grad_vec4" : "rms_norm_grad",
    constants: launch ? { ...launch.constants, RESIDUAL: dsum ? 1 : 0 } : { WG: lanesForRow(width) },
    bindings: [...read.map((tensor) => ({ tensor })), { tensor: dx, written: true }],
    params,
    workgroups: launch?.workgroups ?? foldGrid(rows),
  });
  if (weightGrad) {
    runKernel({
      kernel: launch ? "rms_norm_weight_grad_vec4" : "rms_norm_weight_grad",
      bindings: [{ tensor: x }, { tensor: rstd }, { tensor: dy }, { tensor: weightGrad, written: true }],
      params,
      workgroups: [Math.ceil(width / (launch ? 32 : 8)), 1, 1],
    });
  }
  return dx;
}

const rmsNormOp = defineOp<"x" | "w", RmsNormAttrs>({
  name: "GrpoRmsNorm",
  forward: ({ x, w }, { eps }) => runRmsNorm(x, w, eps),
  saves: { inputs: ["x", "w"], outputs: [false, true] },
  gradient(dys, [x, w, rstd], { weightGrad }) {
    const dy = (dys as Tensor[])[0];
    return { x: () => rmsNormGradOp({ x, w, rstd, dy }, { weightGrad })[0] };
  },
});

const rmsNormGradOp = defineOp<keyof NormInputs<Tensor>, { weightGrad: Tensor | null }>({
  name: "GrpoRmsNormGrad",
  forward: (inputs, { weightGrad }) => runRmsNormGrad(inputs, weightGrad),
});

/**
 * y = x / sqrt(mean(x^2) + eps) * w, row by row.
 * @param x f32 [R,D]
 * @param weight f32 [D]; its `grad`, when it has one, is added to in backward
 * @returns f32 [R,D]
 */
export function rmsNorm(x: Tensor, weight: Weight, eps: number): Tensor {
  return rmsNormOp({ x, w: weight.tensor }, { eps, weightGrad: weight.grad })[0];
}

/** Twin of rms_norm.wgsl in f64. @returns y [R,D] and rstd [R] */
export function rmsNormF64(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  rows: number,
  width: number,
  eps: number,
) {
  const y = new Float64Array(rows * width);
  const rstd = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    let squares = 0;
    for (let d = 0; d < width; d++) squares += x[r * width + d] ** 2;
    rstd[r] = 1 / Math.sqrt(squares / width + eps);
    for (let d = 0; d < width; d++) y[r * width + d] = x[r * width + d] * rstd[r] * w[d];
  }
  return { y, rstd };
}

/** Twin of rms_norm_grad.wgsl and rms_norm_weight_grad.wgsl in f64. @returns dx [R,D] and dw [D] */
export function rmsNormGradF64(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  dy: ArrayLike<number>,
  rows: number,
  width: number,
  eps: number,
) {
  const { rstd } = rmsNormF64(x, w, rows, width, eps);
  const dx = new Float64Array(rows * width);
  const dw = new Float64Array(width);
  for (let r = 0; r < rows; r++) {
    let dot = 0;
    for (let d = 0; d < width; d++) dot += dy[r * width + d] * w[d] * x[r * width + d];
    for (let d = 0; d < width; d++) {
      const i = r * width + d;
      dx[i] = rstd[r] * (dy[i] * w[d] - x[i] * rstd[r] ** 2 * dot / width);
      dw[d] += dy[i] * x[i] * rstd[r];
    }
  }
  return { dx, dw };
}
