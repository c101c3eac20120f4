/**
 * Sequences laid end to end. No padding stands between them, so nothing is computed for padding and no result
 * depends on a neighbour's length; only the total is rounded up, so that buffers of few sizes are reused.
 */

/** N tokens of several sequences; spare rows at the end attend to themselves only and are read by nobody. */
export interface PackedSequences {
  /** i32 [N] */
  ids: Int32Array;
  /** i32 [N]: place in the text. */
  positions: Int32Array;
  /** i32 [N,2]: rows of the own sequence, from (inclusive) and to (exclusive). */
  bounds: Int32Array;
  /** Row of each sequence's first token, and at the end the number of real rows: [S+1]. */
  starts: number[];
}

/** Rounds a row count up to few distinct sizes: steps of an eighth of the power of two below, at least 64. */
export function bucketRows(rows: number): number {
  const step = Math.max(64, 2 ** Math.floor(Math.log2(Math.max(rows, 1))) / 8);
  return Math.ceil(rows / step) * step;
}

/** @param firstPositions place of each sequence's first token in a text that began before; 0 unless given */
export function packSequences(
  sequences: readonly ArrayLike<number>[],
  firstPositions?: readonly number[],
): PackedSequences {
  const starts = [0];
  for (const tokens of sequences) starts.push(starts[starts.length - 1] + tokens.length);
  const rows = starts[sequences.length];
  const padded = bucketRows(rows);
  const ids = new Int32Array(padded);
  const positions = new Int32Array(padded);
  const bounds = new Int32Array(padded * 2);
  sequences.forEach((tokens, s) => {
    const firstPosition = firstPositions?.[s] ?? 0;
    for (let t = 0; t < tokens.length; t++) {
      const row = starts[s] + t;
      ids[row] = tokens[t];
      positions[row] = firstPosition + t;
      bounds[2 * row] = starts[s];
      bounds[2 * row + 1] = starts[s + 1];
    }
  });
  for (let row = rows; row < padded; row++) {
    bounds[2 * row] = row;
    bounds[2 * row + 1] = row + 1;
  }
  return { ids, positions, bounds, starts };
}
