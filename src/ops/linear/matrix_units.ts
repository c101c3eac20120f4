/** Twins of the products of linear layers on matrix units: inputs as f16 holds them, everything else in f64. */
import { shiftF64 } from "../weight/weight_shift.ts";
import type { LayerSizes } from "./choice.ts";
import { halvesF64, roundToF16 } from "./halves.ts";

/** Terms of a weight gradient that are summed at once: SUMMED_AT_ONCE of kernels/linear/linear_matrix.wgsl. */
const SUMMED_AT_ONCE = 512;

/** A matrix with each row as f16 holds it. */
function rowsThroughF16(matrix: ArrayLike<number>, rows: number, width: number): Float64Array {
  const { values, shift } = halvesF64(matrix, rows, width);
  return values.map((value, i) => value / 2 ** shift[Math.floor(i / width)]);
}

/** A weight as f16 holds it, shifted as a whole. */
function weightThroughF16(w: ArrayLike<number>): Float64Array {
  const scale = 2 ** shiftF64(w);
  return roundToF16(Float64Array.from(w, (value) => value * scale)).map((value) => value / scale);
}

/** sum_i a(i) b(i) for i from `from` to before `to`. */
function sum(from: number, to: number, term: (i: number) => number): number {
  let made = 0;
  for (let i = from; i < to; i++) made += term(i);
  return made;
}

/** Twin of linear_matrix.wgsl. @returns y [M,N] */
export function linearF16F64(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  { M, K, N, bias }: LayerSizes & { bias?: ArrayLike<number> },
): Float64Array {
  const [a, b] = [rowsThroughF16(x, M, K), weightThroughF16(w)];
  return Float64Array.from({ length: M * N }, (_, i) => {
    const [m, n] = [Math.floor(i / N), i % N];
    return sum(0, K, (k) => a[m * K + k] * b[n * K + k]) + (bias ? bias[n] : 0);
  });
}

/** Twin of linear_matrix.wgsl with GRAD_X. @returns dx [M,K] */
export function linearGradXF16F64(
  dy: ArrayLike<number>,
  w: ArrayLike<number>,
  { M, K, N }: LayerSizes,
): Float64Array {
  const [a, b] = [rowsThroughF16(dy, M, N), weightThroughF16(w)];
  return Float64Array.from({ length: M * K }, (_, i) => {
    const [m, k] = [Math.floor(i / K), i % K];
    return sum(0, N, (n) => a[m * N + n] * b[n * K + k]);
  });
}

/** Twin of linear_matrix.wgsl with GRAD_W. @returns dw [N,K] */
export function linearGradWF16F64(
  dy: ArrayLike<number>,
  x: ArrayLike<number>,
  { M, K, N }: LayerSizes,
): Float64Array {
  const dw = new Float64Array(N * K);
  const [a, b] = [halvesF64(dy, M, N), halvesF64(x, M, K)];
  for (let first = 0; first < M; first += SUMMED_AT_ONCE) {
    const last = Math.min(first + SUMMED_AT_ONCE, M);
    const tokens = Array.from({ length: last - first }, (_, i) => first + i);
    const common = Math.min(...tokens.map((m) => a.shift[m] + b.shift[m]));
    const taken = roundToF16(Float64Array.from({ length: (last - first) * K }, (_, i) => {
      const m = first + Math.floor(i / K);
      return b.values[m * K + i % K] * 2 ** (common - a.shift[m] - b.shift[m]);
    }));
    for (let i = 0; i < N * K; i++) {
      const [n, k] = [Math.floor(i / K), i % K];
      dw[i] += sum(first, last, (m) => a.values[m * N + n] * taken[(m - first) * K + k]) / 2 ** common;
    }
  }
  return dw;
}
