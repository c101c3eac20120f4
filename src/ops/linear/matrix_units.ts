/** Products of linear layers on the matrix units of a GPU, for the precision float16. */
import type { TensorInfo } from "@tensorflow/tfjs";
import { type KernelCall, runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { type Binding, disposeInfo, newTensor } from "../../gpu/tensors.ts";
import { packWords, unpackWords } from "../weight/pack.ts";
import { FORMAT_CODE, type WeightFormat } from "../weight/weight.ts";
import type { LayerSizes } from "./choice.ts";

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
  const shift = newTensor([rows], "int32");
  runKernel({
    kernel: "row_shifts",
    conditions: { COLUMNS: columns !== undefined },
    constants: { WG: SHIFT_LANES, FORMAT: FORMAT_CODE[format] },
    bindings: { a: matrix, column: columns, shift },
    params: { rows, width, stride },
    workgroups: foldGrid(rows),
  });
  return shift;
}

/** The kernel that was chosen, with its constants, conditions and grid. */
type ChosenKernel = Omit<KernelCall, "bindings" | "params">;

interface MatrixSizes {
  rows: number;
  /** A multiple of 4, of 8 when w is packed. */
  width: number;
  columns: number;
  stride: number;
  /** Of w. */
  format: WeightFormat;
}

interface MatrixOperands {
  /** f32 [rows, width] */
  x: Binding;
  /** [columns, width] in `format` */
  w: Binding;
  bias?: Binding;
  residual?: Binding;
  low?: TensorInfo;
  lora_b?: Binding;
  /** f32 [rows, stride], of which `columns` count */
  y: Binding;
}

/** y = x w^T + bias + residual with inputs rounded to f16. */
export function runMatrixLinear(call: ChosenKernel, operands: MatrixOperands, sizes: MatrixSizes): void {
  const { format, ...params } = sizes;
  const { rows, width, columns } = params;
  const rowShift = runRowShifts({ matrix: operands.x, format: "f32", rows, width });
  const wShift = runRowShifts({ matrix: operands.w, format, rows: columns, width });
  runKernel({ ...call, bindings: { ...operands, row_shift: rowShift, w_shift: wShift }, params });
  disposeInfo(rowShift);
  disposeInfo(wShift);
}

interface MatrixGradOperands {
  /** f32 [rows, stride], of which `columns` count; stride a multiple of 4 */
  dy: Binding;
  /** [columns, width] in `format` */
  w: Binding;
  /** f32 [rows, width] */
  dx: Binding;
}

/** dx = dy w (ADD: dx += that) with inputs rounded to f16. */
export function runMatrixGradX(
  call: ChosenKernel,
  operands: MatrixGradOperands,
  sizes: MatrixSizes,
): void {
  const { format, ...params } = sizes;
  const { rows, width, columns, stride } = params;
  const wShift = runRowShifts({ matrix: operands.w, format, rows: columns, width });
  const rowShift = runRowShifts({
    matrix: operands.dy,
    format: "f32",
    rows,
    width: columns,
    stride,
    columns: wShift,
  });
  runKernel({ ...call, bindings: { ...operands, row_shift: rowShift, w_shift: wShift }, params });
  disposeInfo(rowShift);
  disposeInfo(wShift);
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
  { M, K, N, bias }: LayerSizes & { bias?: ArrayLike<number> },
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
export function linearGradXF16F64(
  dy: ArrayLike<number>,
  w: ArrayLike<number>,
  { M, K, N }: LayerSizes,
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
