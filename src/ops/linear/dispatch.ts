/**
 * The matrix products of a linear layer at dispatch level: on whole tensors, or on row windows of them. A weight that is
 * larger than one binding goes through in windows of its rows.
 *
 * Each output element is one fma chain over the summed index, strictly in order, in every kernel. So the bits of a
 * row depend neither on its neighbours, nor on how many rows a call has, nor on which kernel ran, nor on windows.
 */
import type { Tensor } from "@tensorflow/tfjs";
import { hasSimd8, maxSubgroupSize } from "../../gpu/device_facts.ts";
import { runKernel, u32 } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import type { Binding } from "../../gpu/tensors.ts";
import type { KernelConstants } from "../../gpu/kernel.ts";
import { matmulPrecision } from "../../gpu/precision.ts";
import { bindFrom, bindWindow, type Window, windowsOf } from "../../gpu/windows.ts";
import { type MatmulSize, matmulTile } from "./choice.ts";
import { runMatrixInputGrad, runMatrixLinear } from "./matrix_units.ts";
import { bytesOf, FORMAT_CODE, type Weight } from "../weight/weight.ts";

/** Sizes of one product. x is [rows,K], y [rows,stride] of which the first N columns count; w is [N,K]. */
interface Sizes {
  rows: number;
  /** Floats from one row of y to the next; N unless given. */
  stride?: number;
}

export interface LinearRun extends Sizes {
  x: Binding;
  weight: Weight;
  bias?: Weight | null;
  /** As y. */
  residual?: Binding | null;
  y: Binding;
  /** "few": for a handful of rows, the kernel that works on 1, 2 or 4 of them at a time. The bits are the same. */
  kind?: "many" | "few";
}

export interface LinearInputGradRun extends Sizes {
  dy: Binding;
  weight: Weight;
  dx: Binding;
  /** dx goes on from what it holds: its chain over the outputs began with another weight. */
  adds?: boolean;
}

export interface LinearWeightGradRun extends Sizes {
  dy: Binding;
  x: Binding;
  weight: Weight;
}

const STRIDED_LANES = 64;

/** Lanes of a tiled matmul's workgroup, columns x rows: one subgroup on a CPU (8 wide), two warps or more on a GPU. */
export function lanes(): { WG_X: number; WG_Y: number } {
  return { WG_X: 8, WG_Y: maxSubgroupSize() <= 8 ? 1 : 8 };
}

/** The kernels that tile in registers. */
export const TILED = { output: "linear", inputGrad: "linear_grad_x", weightGrad: "linear_grad_w" };

/** Kernel, lanes and grid of a tiled product of [rows, columns]; every variant gives the same bits. */
function tiled(size: MatmulSize) {
  const { kernel, columns, rows } = size;
  const tile = matmulTile(size);
  if (tile) {
    const workgroups: [number, number, number] = [
      Math.ceil(columns / tile.TILE_N),
      Math.ceil(rows / tile.TILE_M),
      1,
    ];
    return { kernel: `${kernel}_tile`, constants: tile, workgroups };
  }
  if (hasSimd8()) {
    // Half a tile where that holds all rows: rows past the last would cost what others do.
    const half = kernel === TILED.output && rows <= 8;
    const tileRows = half ? 8 : 16;
    const constants: KernelConstants = half ? { TILE_ROWS: tileRows } : {};
    const workgroups: [number, number, number] = [Math.ceil(columns / 32), Math.ceil(rows / tileRows), 1];
    return { kernel: `${kernel}_simd8`, constants, workgroups };
  }
  return { kernel, constants: lanes(), workgroups: tileGrid(columns, rows) };
}

/** Whether linear_few is faster than the tiled kernel. */
export const isFew = (rows: number): boolean => rows <= (hasSimd8() ? 2 : 4);

/** Lanes, rows at a time and grid of linear_few. */
function fewRows(columns: number, rows: number) {
  const lanes = maxSubgroupSize() <= 8 ? 8 : 32;
  const constants = { WG: lanes, ROWS: rows > 2 ? 4 : rows };
  const workgroups: [number, number, number] = [Math.ceil(columns / (4 * lanes)), 1, 1];
  return { kernel: "linear_few", constants, workgroups };
}

const written = (binding: Binding): Binding => ({ ...binding, written: true });
const biasCode = (bias?: Weight | null) => bias ? 1 + FORMAT_CODE[bias.format] : 0;

/** Whether the vec4 kernels take these sizes: every row must begin on 16 bytes. */
function isTiled(weight: Weight, stride: number): boolean {
  return stride % 4 === 0 && isVectored(weight);
}

/** The same for the rows of the weight alone. */
export function isVectored(weight: Weight): boolean {
  return weight.shape[1] % (weight.format === "f32" ? 4 : 8) === 0;
}

function tileGrid(columns: number, rows: number): [number, number, number] {
  const { WG_X, WG_Y } = lanes();
  return [Math.ceil(columns / (8 * WG_X)), Math.ceil(rows / (8 * WG_Y)), 1];
}

/** Weight rows, and with them columns of y or dy, that one dispatch takes. */
export function weightWindows({ shape: [N, K], format }: Weight): Window[] {
  return windowsOf(N, bytesOf(format, K));
}

/** The rows of a weight. */
export function bindRows({ tensor, shape: [, K], format }: Weight, window: Window): Binding {
  return bindWindow(tensor, bytesOf(format, K), window);
}

/** y or dy from the window's first column on: the stride stays, and the kernels leave the columns after its last. */
export const bindColumns = (binding: Binding, { first }: Window) => bindFrom(binding, bytesOf("f32", first));

/** y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + residual[m,n], rows m of the windows x, residual and y. */
export function runLinear(run: LinearRun): void {
  for (const window of weightWindows(run.weight)) runLinearWindow(run, window);
}

function runLinearWindow(
  { x, weight, bias, residual, y, rows, stride, kind = "many" }: LinearRun,
  window: Window,
): void {
  const K = weight.shape[1];
  const N = window.count;
  const step = stride ?? weight.shape[0];
  const w = bindRows(weight, window);
  const bindings = [
    x,
    w,
    bias ? bindFrom({ tensor: bias.tensor }, bytesOf(bias.format, window.first)) : w,
    written(bindColumns(y, window)),
    residual ? bindColumns(residual, window) : w,
  ];
  const codes = {
    FORMAT: FORMAT_CODE[weight.format],
    BIAS: biasCode(bias),
    RESIDUAL: residual ? 1 : 0,
  };
  const params = [u32(rows), u32(K), u32(N), u32(step)];
  if (!isVectored(weight)) {
    runKernel({
      kernel: "linear_strided",
      constants: { WG: STRIDED_LANES, ...codes },
      bindings,
      params: [rows, N, K, K, 1, K, 1, step].map(u32),
      workgroups: foldGrid(Math.ceil(rows * N / STRIDED_LANES)),
    });
  } else if (matmulPrecision() === "float16") {
    const [, , biasRows, yColumns, residualColumns] = bindings;
    const sizes = { rows, width: K, columns: N, stride: step };
    runMatrixLinear({
      x,
      w,
      bias: biasRows,
      y: yColumns,
      format: weight.format,
      biasCode: codes.BIAS,
      residual: residual ? residualColumns : null,
      ...sizes,
    });
  } else {
    const size = { kernel: TILED.output, format: weight.format, rows, columns: N, summed: K };
    const isFewKernel = kind === "few" && isFew(rows);
    const { kernel, constants, workgroups } = isFewKernel ? fewRows(N, rows) : tiled(size);
    runKernel({ kernel, constants: { ...constants, ...codes }, bindings, params, workgroups });
  }
}

/** dx[m,k] = sum_n dy[m,n] w[n,k] (adds: dx[m,k] += that), rows m of the windows dy and dx. */
export function runLinearInputGrad(run: LinearInputGradRun): void {
  for (const window of weightWindows(run.weight)) runLinearInputGradWindow(run, window);
}

function runLinearInputGradWindow(
  { dy, weight, dx, rows, stride, adds }: LinearInputGradRun,
  window: Window,
): void {
  const K = weight.shape[1];
  const N = window.count;
  const step = stride ?? weight.shape[0];
  const w = bindRows(weight, window);
  const d = bindColumns(dy, window);
  // Later windows go on where the chain over n was: dx holds its sums unrounded.
  const codes = { FORMAT: FORMAT_CODE[weight.format], ADD: adds || window.first > 0 ? 1 : 0 };
  if (isTiled(weight, step) && matmulPrecision() === "float16") {
    const sizes = { rows, width: K, columns: N, stride: step };
    runMatrixInputGrad({ dy: d, w, dx, format: weight.format, adds: codes.ADD === 1, ...sizes });
  } else if (isTiled(weight, step)) {
    // The subgroup kernel takes dy by fours.
    const { kernel, constants, workgroups } = N % 4 === 0
      ? tiled({ kernel: TILED.inputGrad, format: weight.format, rows, columns: K, summed: N })
      : { kernel: TILED.inputGrad, constants: lanes(), workgroups: tileGrid(K, rows) };
    runKernel({
      kernel,
      constants: { ...constants, ...codes },
      bindings: [d, w, written(dx)],
      params: [rows, K, N, step].map(u32),
      workgroups,
    });
  } else {
    runKernel({
      kernel: "linear_strided",
      constants: { WG: STRIDED_LANES, ...codes },
      bindings: [d, w, w, written(dx), w],
      params: [rows, K, N, step, 1, 1, K, K].map(u32),
      workgroups: foldGrid(Math.ceil(rows * K / STRIDED_LANES)),
    });
  }
}

/** weight.grad[n,k] += sum_m dy[m,n] x[m,k], rows m of the windows dy and x, in order. Nothing when it is frozen. */
export function runLinearWeightGrad(run: LinearWeightGradRun): void {
  const { shape: [N, K], grad } = run.weight;
  if (!grad) return;
  for (const window of windowsOf(N, bytesOf("f32", K))) runLinearWeightGradWindow(run, grad, window);
}

function runLinearWeightGradWindow(
  { dy, x, weight, rows, stride }: LinearWeightGradRun,
  whole: Tensor,
  window: Window,
): void {
  const K = weight.shape[1];
  const N = window.count;
  const step = stride ?? weight.shape[0];
  const grad = written(bindWindow(whole, bytesOf("f32", K), window));
  const d = bindColumns(dy, window);
  if (isTiled(weight, step)) {
    runKernel({
      ...tiled({ kernel: TILED.weightGrad, format: "f32", rows: N, columns: K, summed: rows }),
      bindings: [d, x, grad],
      params: [rows, K, N, step].map(u32),
    });
  } else {
    runKernel({
      kernel: "linear_strided",
      constants: { WG: STRIDED_LANES, ADD: 1 },
      bindings: [d, x, x, grad, x],
      params: [N, K, rows, 1, step, 1, K, K].map(u32),
      workgroups: foldGrid(Math.ceil(N * K / STRIDED_LANES)),
    });
  }
}

/** bias.grad[n] += sum_m dy[m,n], rows m of the window dy, in order. Nothing when it is frozen. */
export function runLinearBiasGrad({ dy, bias, rows, stride }: { dy: Binding; bias: Weight } & Sizes): void {
  if (!bias.grad) return;
  const [N] = bias.shape;
  runKernel({
    kernel: "linear_grad_bias",
    bindings: [dy, { tensor: bias.grad, written: true }],
    params: [rows, N, stride ?? N].map(u32),
    workgroups: [Math.ceil(N / 64), 1, 1],
  });
}
