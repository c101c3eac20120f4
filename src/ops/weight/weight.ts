/** A model's parameter as the ops see it. */
import type { Tensor } from "@tensorflow/tfjs";

export type WeightFormat = "f32" | "bf16" | "f16";

/** Rows of a stored tensor, from the first to before the last: a file may hold several parameters as one. */
export type RowRange = readonly [from: number, to: number];

/**
 * A parameter on the GPU. `tensor` is f32 of `shape`, or, packed two to a word (the even column in the low half),
 * int32 with half as many columns.
 *
 * Ops that read a weight add its gradient into `grad` while they go backward, in row order. So micro-batches
 * accumulate in place: no gradient tensor per micro-batch, and the same bits however a batch is split.
 * `grad` null: frozen.
 */
export interface Weight {
  name: string;
  shape: number[];
  format: WeightFormat;
  /** What its file holds, where that is narrower than `format`: it has these values until it is trained. */
  stored?: WeightFormat;
  tensor: Tensor;
  grad: Tensor | null;
}

/** The `override FORMAT` of kernels that read weights in any format. */
export const FORMAT_CODE: Record<WeightFormat, number> = { f32: 0, bf16: 1, f16: 2 };

/** Bytes of so many values. */
export function bytesOf(format: WeightFormat, values: number): number {
  return format === "f32" ? 4 * values : 2 * values;
}
