/** Sums that say how far weights moved; all in f64, so that a change of 1e-9 of a weight is not lost. Pure. */

/** Squares of a difference and of where it began. */
export interface Squares {
  change: number;
  start: number;
}

/** Sums of (after - before)^2 and of before^2. @param after [N], @param before [N] */
export function squaredChange(after: Float32Array, before: Float32Array): Squares {
  let [change, start] = [0, 0];
  for (let i = 0; i < after.length; i++) {
    const difference = after[i] - before[i];
    change += difference * difference;
    start += before[i] * before[i];
  }
  return { change, start };
}

/** One term of a sum of products: scale B A. */
export interface LowRank {
  scale: number;
  rank: number;
  /** [rank, columns] */
  a: Float32Array;
  /** [rows, rank] */
  b: Float32Array;
}

/**
 * |sum of scale_t B_t A_t|^2 (Frobenius) without forming a product: with all B side by side and all A one below the
 * other, |B A|^2 = tr(A^T B^T B A) = sum over i, j of (B^T B)_ij (A A^T)_ij.
 */
export function lowRankSquare(terms: readonly LowRank[]): number {
  const places = terms.flatMap((term) => Array.from({ length: term.rank }, (_, r) => ({ term, r })));
  let sum = 0;
  for (const one of places) {
    for (const other of places) sum += productOfColumns(one, other) * productOfRows(one, other);
  }
  // What cancels may leave less than nothing.
  return Math.max(0, sum);
}

interface Place {
  term: LowRank;
  r: number;
}

/** (B^T B)_ij, scales included. */
function productOfColumns({ term: p, r: i }: Place, { term: q, r: j }: Place): number {
  let sum = 0;
  for (let at = i, to = j; at < p.b.length; at += p.rank, to += q.rank) sum += p.b[at] * q.b[to];
  return sum * p.scale * q.scale;
}

/** (A A^T)_ij */
function productOfRows({ term: p, r: i }: Place, { term: q, r: j }: Place): number {
  const columns = p.a.length / p.rank;
  let sum = 0;
  for (let c = 0; c < columns; c++) sum += p.a[i * columns + c] * q.a[j * columns + c];
  return sum;
}
