/**
 * What ranks of one run say to each other. The trainer is written against it, so that sampling counters, group
 * statistics and lambda do not depend on the number of ranks.
 */
export interface Communicator {
  readonly rank: number;
  /** Number of ranks. */
  readonly size: number;
  /** Element-wise sum over all ranks, the same on each. */
  allReduceSum(values: readonly number[]): Promise<number[]>;
  /** Largest of all ranks' values: how they agree on stopping. */
  allReduceMax(value: number): Promise<number>;
  /** Returns once every rank has called it. */
  barrier(): Promise<void>;
}

/** One process: every collective is the identity. */
export const singleProcess: Communicator = {
  rank: 0,
  size: 1,
  allReduceSum: (values) => Promise.resolve([...values]),
  allReduceMax: (value) => Promise.resolve(value),
  barrier: () => Promise.resolve(),
};
