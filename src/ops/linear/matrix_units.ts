/** Products of linear layers on the matrix units of a GPU, for the precision float16. */
import type { TensorInfo } from "@tensorflow/tfjs";
import { maxSubgroupSize } from "../../gpu/device_facts.ts";
import { runKernel, u32 } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { type Binding, disposeInfo, newTensor } from "../../gpu/tensors.ts";
import { packWords, unpackWords } from "../weight/pack.ts";
import { FORMAT_CODE, type WeightFormat } from "../weight/weight.ts";

const SHIFT_LANES = 64;

export interface RowShiftsRun {
  matrix: Binding;
  format: WeightFormat;
  rows: number;
  width: number;
  /** Values from one row to the next; `width` unless given. */
  stride?: number;
  /** Shifts of the columns, which go the other way. */
  columns?: TensorInfo;
}

/** Shifts of the rows of a matrix, i32 [rows]; see kernels/linear/row_shifts.wgsl. The caller disposes them. */
export function runRowShifts(run: RowShiftsRun): TensorInfo {
  const { matrix, format, rows, width, stride = width, columns } = run;
  const shifts = newTensor([rows], "int32");
  runKernel({
    kernel: "row_shifts",
    constants: { WG: SHIFT_LANES, FORMAT: FORMAT_CODE[format], COLUMNS: columns ? 1 : 0 },
    bindings: [matrix, columns ? { tensor: columns } : matrix, { tensor: shifts, written: true }],
    params: [rows, width, stride].map(u32),
    workgroups: foldGrid(rows),
  });
  return shifts;
}

export interface MatrixLinearRun {
  /** f32 [rows, width] */
  x: Binding;
  /** [columns, width] in `format` */
  w: Binding;
  format: WeightFormat;
  bias: Binding;
  /** 0: none, else 1 + the code of its format. */
  biasCode: number;
  residual: Binding | null;
  y: Binding;
  rows: number;
  width: number;
  columns: number;
  stride: number;
}

/** y = x w^T + bias + residual with inputs rounded to f16; width a multiple of 4, of 8 when w is packed. */
export function runMatrixLinear(run: MatrixLinearRun): void {
  const { x, w, format, bias, biasCode, residual, y, rows, width, columns, stride } = run;
  const shifts = [
    runRowShifts({ matrix: x, format: "f32", rows, width }),
    runRowShifts({ matrix: w, format, rows: columns, width }),
  ];
  runKernel({
    kernel: "linear_matrix",
    constants: {
      SUBGROUP: maxSubgroupSize(),
      FORMAT: FORMAT_CODE[format],
      BIAS: biasCode,
      RESIDUAL: residual ? 1 : 0,
    },
    bindings: [
      x,
      w,
      bias,
      { ...y, written: true },
      ...shifts.map((tensor) => ({ tensor })),
      residual ?? x,
    ],
    params: [rows, width, columns, stride].map(u32),
    workgroups: [Math.ceil(columns / 64), Math.ceil(rows / 64), 1],
  });
  shifts.forEach(disposeInfo);
}

export interface MatrixInputGradRun {
  /** f32 [rows, stride], of which `columns` count */
  dy: Binding;
  /** [columns, width] in `format` */
  w: Binding;
  format: WeightFormat;
  /** f32 [rows, width] */
  dx: Binding;
  /** dx += instead of dx = */
  adds: boolean;
  rows: number;
  width: number;
  columns: number;
  stride: number;
}

/** dx = dy w with inputs rounded to f16; width as in runMatrixLinear, stride a multiple of 4. */
export function runMatrixInputGrad(run: MatrixInputGradRun): void {
  const { dy, w, format, dx, adds, rows, width, columns, stride } = run;
  const wShifts = runRowShifts({ matrix: w, format, rows: columns, width });
  const dShifts = runRowShifts({ matrix: dy, format: "f32", rows, width: columns, stride, columns: wShifts });
  runKernel({
    kernel: "linear_grad_x_matrix",
    constants: { SUBGROUP: maxSubgroupSize(), FORMAT: FORMAT_CODE[format], ADD: adds ? 1 : 0 },
    bindings: [dy, w, { ...dx, written: true }, { tensor: dShifts }, { tensor: wShifts }],
    params: [rows, width, columns, stride].map(u32),
    workgroups: [Math.ceil(width / 64), Math.ceil(rows / 64), 1],
  });
  disposeInfo(dShifts);
  disposeInfo(wShifts);
}

/** Twin of row_shifts.wgsl. @param columns shifts of the columns @returns the shift of each of the matrix's rows */
export function rowShiftsF64(
  matrix: ArrayLike<number>,
  rows: number,
  width: number,
  columns?: ArrayLike<number>,
): Int32Array {
  return Int32Array.from({ length: rows }, (_, m) => {
    let most = -1000;
    for (let k = 0; k < width; k++) {
      const order = Math.floor(Math.log2(Math.abs(matrix[m * width + k])));
      if (order >= -126) most = Math.max(most, order - (columns ? columns[k] : 0));
    }
    return Math.max(-126, Math.min(126, 14 - most));
  });
}

/** The matrix with each row shifted, rounded to f16 and shifted back. */
function throughF16(matrix: ArrayLike<number>, rows: number, width: number): Float64Array {
  const shifts = rowShiftsF64(matrix, rows, width);
  const scale = (i: number) => 2 ** shifts[Math.floor(i / width)];
  const shifted = Float64Array.from(
    { length: Math.ceil(matrix.length / 2) * 2 },
    (_, i) => i < matrix.length ? matrix[i] * scale(i) : 0,
  );
  return unpackWords(packWords(shifted, "f16"), "f16").slice(0, matrix.length).map((value, i) =>
    value / scale(i)
  );
}

/** Twin of linear_matrix.wgsl: inputs as f16 holds them, everything else in f64. @returns y [M,N] */
export function linearF16F64(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  bias: ArrayLike<number> | null,
  M: number,
  K: number,
  N: number,
): Float64Array {
  const [a, b] = [throughF16(x, M, K), throughF16(w, N, K)];
  return Float64Array.from({ length: M * N }, (_, i) => {
    const [m, n] = [Math.floor(i / N), i % N];
    let sum = 0;
    for (let k = 0; k < K; k++) sum += a[m * K + k] * b[n * K + k];
    return sum + (bias ? bias[n] : 0);
  });
}

/** Twin of linear_grad_x_matrix.wgsl. @returns dx [M,K] */
export function inputGradF16F64(
  dy: ArrayLike<number>,
  w: ArrayLike<number>,
  M: number,
  K: number,
  N: number,
): Float64Array {
  const columns = rowShiftsF64(w, N, K);
  const taken = Float64Array.from(dy, (value, i) => value / 2 ** columns[i % N]);
  const [d, b] = [throughF16(taken, M, N), throughF16(w, N, K)];
  return Float64Array.from({ length: M * K }, (_, i) => {
    const [m, k] = [Math.floor(i / K), i % K];
    let sum = 0;
    for (let n = 0; n < N; n++) sum += d[m * N + n] * 2 ** columns[n] * b[n * K + k];
    return sum;
  });
}
