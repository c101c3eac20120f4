/**
 * The matrix products of a linear layer at dispatch level: on whole tensors, or on row windows of them. A weight that
 * is larger than one binding goes through in windows of its rows.
 *
 * Each output element is one fma chain over the summed index, strictly in order, in every kernel. So the bits of a
 * row depend neither on its neighbours, nor on how many rows a call has, nor on which kernel ran, nor on windows.
 * On matrix units (float16) it is one chain of matrices, with the same promise but for two sums that are taken in
 * parts, added in f32: dx over windows of a weight, and dw over blocks of the tokens of a call.
 */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import type { KernelConstants } from "../../gpu/kernel.ts";
import { type MatmulPrecision, matmulPrecision } from "../../gpu/precision.ts";
import type { Binding } from "../../gpu/tensors.ts";
import { bindFrom, bindWindow, type Window, windowsOf } from "../../gpu/windows.ts";
import { bytesOf, FORMAT_CODE, type Weight } from "../weight/weight.ts";
import { weightShift } from "../weight/weight_shift.ts";
import { chooseLinear, productSize, type RowCount } from "./choice.ts";
import { runLinearFewMatrix } from "./few_matrix.ts";
import { type SharedHalves, withHalves } from "./halves.ts";

/** Sizes of one product. x is [rows,K], y [rows,stride] of which the first N columns count; w is [N,K]. */
interface Sizes {
  rows: number;
  /** Floats from one row of y to the next; N unless given. */
  stride?: number;
}

/** What an adapter adds: scale (low b^T), r in order, by the kernel that makes the output. */
export interface LowRank {
  /** f32 [M, rank] */
  low: TensorInfo;
  /** [N, rank] */
  b: Weight;
  scale: number;
}

export interface LinearRun extends Sizes {
  x: Binding;
  weight: Weight;
  bias?: Weight | null;
  /** As y. */
  residual?: Binding | null;
  lowRank?: LowRank;
  y: Binding;
  /** "many" unless given. */
  rowCount?: RowCount;
  /** What is set for all unless given. */
  precision?: MatmulPrecision;
  /** Of x, where several products share them. */
  halves?: SharedHalves;
}

export interface LinearGradXRun extends Sizes {
  dy: Binding;
  weight: Weight;
  dx: Binding;
  /** dx goes on from what it holds: its chain over the outputs began with another weight. */
  adds?: boolean;
  /** Of dy, where both gradients share them. */
  halves?: SharedHalves;
}

export interface LinearGradWRun extends Sizes {
  dy: Binding;
  x: Binding;
  weight: Weight;
  /** Of dy and of x, where several products share them. */
  dyHalves?: SharedHalves;
  xHalves?: SharedHalves;
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

/** Halves from the window's first column on. */
const bindHalves = (tensor: TensorInfo, { first }: Window) => bindFrom({ tensor }, bytesOf("f16", first));

/**
 * y[m,n] = sum_k x[m,k] w[n,k] + bias[n] + scale sum_r low[m,r] b[n,r] + residual[m,n], rows m of the windows x,
 * residual and y.
 */
export function runLinear(run: LinearRun): void {
  const { x, weight, rows } = run;
  withHalves({ matrix: x, rows, width: weight.shape[1] }, (own) => {
    for (const window of weightWindows(weight)) runLinearWindow(run, window, run.halves ?? own);
  });
}

function runLinearWindow(run: LinearRun, window: Window, halves: SharedHalves): void {
  const { x, weight, bias, residual, lowRank, rows, rowCount, precision = matmulPrecision() } = run;
  const [outputs, width] = weight.shape;
  const { format } = weight;
  const stride = run.stride ?? outputs;
  const w = bindRows(weight, window);
  const y = bindColumns(run.y, window);
  const addends = {
    bias: bias ? bindFrom({ tensor: bias.tensor }, bytesOf(bias.format, window.first)) : undefined,
    residual: residual ? bindColumns(residual, window) : undefined,
    low: lowRank?.low,
    lora_b: lowRank && bindRows(lowRank.b, window),
  };
  const addendConditions = { BIAS: bias != null, RESIDUAL: residual != null, ADAPTER: lowRank != null };
  const addendConstants: KernelConstants = {
    ...(bias ? { BIAS_FORMAT: FORMAT_CODE[bias.format] } : {}),
    ...(lowRank ? { B_FORMAT: FORMAT_CODE[lowRank.b.format] } : {}),
  };
  const size = productSize("output", { M: rows, K: width, N: window.count });
  const isWhole = window.count === stride; // the kernel for few rows on matrix units takes no part of a layer
  const choice = chooseLinear({ ...size, format, rowCount: isWhole ? rowCount : "many", precision });
  const { way, kernel, workgroups } = choice;
  if (way === "few_matrix") {
    const low = lowRank && { tensor: lowRank.low, count: 1, ranks: lowRank.b.shape[1] };
    const layer = { weight, bias, adapter: lowRank };
    runLinearFewMatrix({ halves: halves.get(), rows, layers: [layer], outputs: [run.y], low, residual });
    return;
  }
  const conditions = { ...choice.conditions, ...addendConditions };
  const constants = { ...choice.constants, FORMAT: FORMAT_CODE[format], ...addendConstants };
  const call = { kernel, conditions, constants, workgroups };
  const adapter: Record<string, number> = lowRank ? { rank: lowRank.b.shape[1], scale: lowRank.scale } : {};
  const params = { rows, width, columns: window.count, stride, ...adapter };
  if (way === "matrix") {
    const { values: a, shift: a_shift } = halves.get();
    const bindings = { a, a_shift, w, w_shift: weightShift(weight), y, ...addends };
    runKernel({ ...call, bindings, params });
  } else if (way === "strided") {
    runKernel({
      ...call,
      bindings: { a: x, b: w, c: y, ...addends },
      params: {
        rows,
        columns: window.count,
        terms: width,
        a_row: width,
        a_term: 1,
        b_row: width,
        b_term: 1,
        c_row: stride,
        ...adapter,
      },
    });
  } else {
    runKernel({ ...call, bindings: { x, w, y, ...addends }, params });
  }
}

/** dx[m,k] = sum_n dy[m,n] w[n,k] (adds: dx[m,k] += that), rows m of the windows dy and dx. */
export function runLinearGradX(run: LinearGradXRun): void {
  const { dy, weight, rows, stride } = run;
  withHalves({ matrix: dy, rows, width: weight.shape[0], stride }, (own) => {
    for (const window of weightWindows(weight)) runLinearGradXWindow(run, window, run.halves ?? own);
  });
}

function runLinearGradXWindow(run: LinearGradXRun, window: Window, halves: SharedHalves): void {
  const { weight, dx, rows, adds } = run;
  const [outputs, width] = weight.shape;
  const { format } = weight;
  const stride = run.stride ?? outputs;
  const w = bindRows(weight, window);
  const dy = bindColumns(run.dy, window);
  const size = productSize("grad_x", { M: rows, K: width, N: window.count });
  const choice = chooseLinear({ ...size, format, stride, precision: matmulPrecision() });
  const { way, kernel, workgroups } = choice;
  const call = {
    kernel,
    // Later windows go on where the chain over n was: dx holds its sums unrounded.
    conditions: { ...choice.conditions, ADD: adds || window.first > 0 },
    constants: { ...choice.constants, FORMAT: FORMAT_CODE[format] },
    workgroups,
  };
  const params = { rows, width, columns: window.count, stride };
  if (way === "matrix") {
    const { values, shift: a_shift, pitch } = halves.get();
    const bindings = { a: bindHalves(values, window), a_shift, w, w_shift: weightShift(weight), grad: dx };
    runKernel({ ...call, bindings, params: { ...params, stride: pitch } });
  } else if (way === "strided") {
    runKernel({
      ...call,
      bindings: { a: dy, b: w, c: dx },
      params: {
        rows,
        columns: width,
        terms: window.count,
        a_row: stride,
        a_term: 1,
        b_row: 1,
        b_term: width,
        c_row: width,
      },
    });
  } else {
    runKernel({ ...call, bindings: { dy, w, grad: dx }, params });
  }
}

/** weight.grad[n,k] += sum_m dy[m,n] x[m,k], rows m of the windows dy and x, in order. Nothing when it is frozen. */
export function runLinearGradW(run: LinearGradWRun): void {
  const { dy, x, rows, stride, weight: { shape: [N, K], grad } } = run;
  if (!grad) return;
  withHalves({ matrix: dy, rows, width: N, stride }, (dyHalves) => {
    withHalves({ matrix: x, rows, width: K }, (xHalves) => {
      for (const window of windowsOf(N, bytesOf("f32", K))) {
        runLinearGradWWindow({ dyHalves, xHalves, ...run }, grad, window);
      }
    });
  });
}

/** A run whose halves are there for the asking. */
type HalvedGradWRun = LinearGradWRun & Required<Pick<LinearGradWRun, "dyHalves" | "xHalves">>;

function runLinearGradWWindow(run: HalvedGradWRun, whole: Tensor, window: Window): void {
  const { x, weight, rows, dyHalves, xHalves } = run;
  const [outputs, width] = weight.shape;
  const stride = run.stride ?? outputs;
  const grad = bindWindow(whole, bytesOf("f32", width), window);
  const dy = bindColumns(run.dy, window);
  const size = productSize("grad_w", { M: rows, K: width, N: window.count });
  const { way, kernel, conditions, constants, workgroups } = chooseLinear({
    ...size,
    format: weight.format,
    stride,
    precision: matmulPrecision(),
  });
  const params = { rows, width, columns: window.count, stride };
  if (way === "matrix") {
    const [left, right] = [dyHalves.get(), xHalves.get()];
    runKernel({
      kernel,
      conditions,
      constants: { ...constants, FORMAT: FORMAT_CODE.f16 },
      bindings: {
        a: bindHalves(left.values, window),
        a_shift: left.shift,
        b: right.values,
        b_shift: right.shift,
        grad,
      },
      params: { ...params, stride: left.pitch },
      workgroups,
    });
  } else if (way === "strided") {
    runKernel({
      kernel,
      conditions: { ADD: true },
      constants,
      bindings: { a: dy, b: x, c: grad },
      params: {
        rows: window.count,
        columns: width,
        terms: rows,
        a_row: 1,
        a_term: stride,
        b_row: 1,
        b_term: width,
        c_row: width,
      },
      workgroups,
    });
  } else {
    runKernel({ kernel, constants, bindings: { dy, x, grad }, params, workgroups });
  }
}

const BIAS_LANES = 64;

/** bias.grad[n] += sum_m dy[m,n], rows m of the window dy, in order. Nothing when it is frozen. */
export function runLinearGradBias({ dy, bias, rows, stride }: { dy: Binding; bias: Weight } & Sizes): void {
  if (!bias.grad) return;
  const [columns] = bias.shape;
  runKernel({
    kernel: "linear_grad_bias",
    constants: { WG: BIAS_LANES },
    bindings: { dy, db: bias.grad },
    params: { rows, columns, stride: stride ?? columns },
    workgroups: [Math.ceil(columns / BIAS_LANES), 1, 1],
  });
}
