/** The forward product of a linear layer on the matrix units of a GPU, for the precision float16. */
import type { TensorInfo } from "@tensorflow/tfjs";
import {
  type Binding,
  disposeInfo,
  foldGrid,
  maxSubgroupSize,
  newTensor,
  runKernel,
  u32,
} from "../gpu/bridge.ts";
import { packWords, unpackWords } from "./pack.ts";
import { FORMAT_CODE, type WeightFormat } from "./weight.ts";

const SHIFT_LANES = 64;

/** Shifts of the rows of a matrix [rows, width], i32 [rows]; see kernels/row_shifts.wgsl. The caller disposes them. */
export function runRowShifts(matrix: Binding, format: WeightFormat, rows: number, width: number): TensorInfo {
  const shifts = newTensor([rows], "int32");
  runKernel({
    kernel: "row_shifts",
    constants: { WG: SHIFT_LANES, FORMAT: FORMAT_CODE[format] },
    bindings: [matrix, { tensor: shifts, written: true }],
    params: [rows, width].map(u32),
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
  const shifts = [runRowShifts(x, "f32", rows, width), runRowShifts(w, format, columns, width)];
  runKernel({
    kernel: "matmul_nt_matrix",
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

/** Twin of row_shifts.wgsl. @returns the shift of each of the matrix's rows */
export function rowShiftsF64(matrix: ArrayLike<number>, rows: number, width: number): Int32Array {
  return Int32Array.from({ length: rows }, (_, m) => {
    let largest = 0;
    for (let k = 0; k < width; k++) largest = Math.max(largest, Math.abs(matrix[m * width + k]));
    // Below f32's normal numbers the exponent field is 0.
    const exponent = Math.max(-127, Math.floor(Math.log2(largest)));
    return Math.max(-126, Math.min(126, 14 - exponent));
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

/** Twin of matmul_nt_matrix.wgsl: inputs as f16 holds them, everything else in f64. @returns y [M,N] */
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
