/**
 * A matrix of f32 as f16, each row in range by a power of two of its own: what products on matrix units read of
 * activations and of their gradients. Made once for all products of one matrix.
 */
import type { TensorInfo } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid, lanesForRow } from "../../gpu/grids.ts";
import { type Binding, disposeInfo, newTensor } from "../../gpu/tensors.ts";
import { packWords, unpackWords } from "../weight/pack.ts";
import { shiftF64 } from "../weight/weight_shift.ts";

/** Rows of halves are zeros up to a multiple of it: what kernels on matrix units stage of them at a time. */
const HALVES_STEP = 32;

export interface Halves {
  /** f16 [rows, pitch], two to a word: int32 [rows, pitch / 2]. */
  values: TensorInfo;
  /** i32 [rows]: values are 2^shift times what they stand for. */
  shift: TensorInfo;
  /** f16 values from one row to the next, a multiple of 32. */
  pitch: number;
}

export interface HalvesRun {
  /** f32 [rows, stride], of which `width` columns count. */
  matrix: Binding;
  rows: number;
  width: number;
  /** A multiple of 4; `width` unless given. */
  stride?: number;
}

export const halvesPitch = (width: number): number => Math.ceil(width / HALVES_STEP) * HALVES_STEP;

/** Room for halves, which a kernel must write. The caller disposes them. */
export function newHalves(rows: number, width: number): Halves {
  const pitch = halvesPitch(width);
  return { values: newTensor([rows, pitch / 2], "int32"), shift: newTensor([rows], "int32"), pitch };
}

/** See kernels/linear/halves.wgsl. The caller disposes them. */
export function makeHalves({ matrix, rows, width, stride = width }: HalvesRun): Halves {
  const { values, shift, pitch } = newHalves(rows, width);
  runKernel({
    kernel: "halves",
    constants: { WG: lanesForRow(width) },
    bindings: { a: matrix, values, shift },
    params: { rows, width, stride, pitch },
    workgroups: foldGrid(rows),
  });
  return { values, shift, pitch };
}

export function disposeHalves({ values, shift }: Halves): void {
  disposeInfo(values);
  disposeInfo(shift);
}

/** Halves that are made when a product first asks for them, and then shared by those that follow. */
export interface SharedHalves {
  get(): Halves;
}

/** Runs `body` with the halves of a matrix, which are gone afterwards. Where no product asks, none are made. */
export function withHalves<R>(source: HalvesRun, body: (halves: SharedHalves) => R): R {
  let made: Halves | undefined;
  try {
    return body({ get: () => made ??= makeHalves(source) });
  } finally {
    if (made) disposeHalves(made);
  }
}

/** Values as f16 holds them. */
export function roundToF16(values: ArrayLike<number>): Float64Array {
  const even = Array.from({ length: Math.ceil(values.length / 2) * 2 }, (_, i) => values[i] ?? 0);
  return unpackWords(packWords(even, "f16"), "f16").slice(0, values.length);
}

/** Twin of halves.wgsl. @returns values [rows, width], shifted and rounded, and the shift of each row */
export function halvesF64(matrix: ArrayLike<number>, rows: number, width: number) {
  const row = (m: number) => Float64Array.from({ length: width }, (_, k) => matrix[m * width + k]);
  const shift = Int32Array.from({ length: rows }, (_, m) => shiftF64(row(m)));
  const shifted = Float64Array.from(
    { length: rows * width },
    (_, i) => matrix[i] * 2 ** shift[Math.floor(i / width)],
  );
  return { values: roundToF16(shifted), shift };
}
