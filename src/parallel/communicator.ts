/**
 * What the ranks of one run say to each other: typed arrays and tensors on the GPU, changed in place, so that one
 * process alone copies nothing and nobody but the caller ever owns a tensor.
 *
 * Every rank makes the same calls in the same order, with values of the same kind and length; it leaves what it gave
 * alone until the promise is fulfilled. Sums are taken in rank order: the same bits on every rank and from run to run.
 */
import type { Tensor } from "@tensorflow/tfjs";

export type NumberArray = Float32Array | Float64Array | Int32Array;

/** A tensor is f32 or i32, on the GPU, of any shape; its values count in memory order. */
export type Shareable = NumberArray | Tensor;

/** How values travel to the rank that sums them: as they are, or rounded to bfloat16, which is half the bytes. */
export type Wire = "float32" | "bfloat16";

export interface Communicator {
  /** From 0. The one that writes the run's files is 0. */
  readonly rank: number;
  /** Number of ranks. */
  readonly size: number;
  /** What this rank has sent to others so far. */
  readonly bytesSent: number;
  /** values[i] = sum over the ranks of values[i]. */
  allReduceSum(values: Shareable): Promise<void>;
  /** values[i] = largest of the ranks' values[i]; in an array, NaN where any of them is. */
  allReduceMax(values: Shareable): Promise<void>;
  /**
   * As allReduceSum, but only in this rank's share of the values; what stands beside it stays as it was given.
   * @param wire of bfloat16: every rank's values are rounded (nearest even), its own too, and summed in f32
   */
  reduceScatterSum(values: Shareable, wire?: Wire): Promise<void>;
  /** values = every rank's own share of the values that it gave. */
  allGather(values: Shareable): Promise<void>;
  /** values = those of rank `root`. */
  broadcast(values: Shareable, root: number): Promise<void>;
  /** Returns once every rank has called it. */
  barrier(): Promise<void>;
  /**
   * This rank takes part no more. What the others wait for, now or later, fails, with `reason` where it did.
   * @param reason what this rank failed of
   */
  leave(reason?: unknown): void;
}

/** Values `start` up to, not including, `end`. */
export interface Share {
  start: number;
  end: number;
}

/** A rank's share of `length` values: in rank order, of one size, but that the first length % size have one more. */
export function shareOf(length: number, rank: number, size: number): Share {
  const [even, more] = [Math.floor(length / size), length % size];
  const start = rank * even + Math.min(rank, more);
  return { start, end: start + even + (rank < more ? 1 : 0) };
}

/** One process: what it gives is the sum, the maximum and the whole of it already. */
export const singleProcess: Communicator = {
  rank: 0,
  size: 1,
  bytesSent: 0,
  allReduceSum: () => Promise.resolve(),
  allReduceMax: () => Promise.resolve(),
  reduceScatterSum: () => Promise.resolve(),
  allGather: () => Promise.resolve(),
  broadcast: () => Promise.resolve(),
  barrier: () => Promise.resolve(),
  leave: () => {},
};
