/** Floating-point operations of a Llama, counted from its shape: two for each multiply-add of matmuls and attention. */
import type { LlamaShape } from "./random_llama.ts";

export interface TokenCounts {
  /** Tokens read by the trunk. */
  tokens: number;
  /** Pairs of a query and a key that it attends to. */
  attended: number;
  /** Rows that go through the head. */
  headRows: number;
}

/** Sequences that are read from their tokens `from` on (the ones before are in a cache). */
export function countTokens(
  sequences: readonly { from: number; to: number; headRows: number }[],
): TokenCounts {
  const counts = { tokens: 0, attended: 0, headRows: 0 };
  for (const { from, to, headRows } of sequences) {
    counts.tokens += to - from;
    counts.attended += (to * (to + 1) - from * (from + 1)) / 2;
    counts.headRows += headRows;
  }
  return counts;
}

export function headFlops({ hidden, vocab }: LlamaShape, rows: number): number {
  return 2 * rows * hidden * vocab;
}

/** One forward pass. */
export function forwardFlops(shape: LlamaShape, { tokens, attended, headRows }: TokenCounts): number {
  const { hidden: D, intermediate: F, layers, heads, kvHeads } = shape;
  const matrices = 2 * D * D + 2 * D * D * kvHeads / heads + 3 * D * F;
  return layers * (2 * tokens * matrices + 4 * attended * D) + headFlops(shape, headRows);
}
