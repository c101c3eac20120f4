/** Decoding's rotation of queries and keys, and the keeping of keys and values, in one dispatch. */
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { emptyTensor } from "../../gpu/tensors.ts";
import { type BlockTable, checkPool, kvAppendF64, type KvPool } from "./kv_append.ts";
import { fitsHeads, headUnits, ropeF64, type RopeTable } from "./rope.ts";
import { FORMAT_CODE } from "../weight/weight.ts";

const WG = 64;

/** The newest token of every row of a block table, before rotation. */
export interface FreshRows {
  /** f32 [R, heads*headDim] */
  q: Tensor;
  /** f32 [R, kvHeads*headDim] */
  k: Tensor;
  v: Tensor;
  /** i32 [R]: its place among the row's tokens; past the rope table's end it is rotated as the last one there. */
  positions: Tensor;
}

/**
 * @returns rows
 * @throws RangeError when the shapes do not fit together
 */
export function checkFresh(
  pool: KvPool,
  { q, k, v, positions }: FreshRows,
  angles: RopeTable,
  { table, blockShift }: BlockTable,
  headDim: number,
): number {
  const [rows, width] = q.shape as [number, number];
  const kvWidth = k.shape[1]!;
  checkPool(pool, kvWidth, blockShift);
  const fits = [k, v].every(({ shape }) => shape[0] === rows && shape[1] === kvWidth) &&
    positions.size === rows &&
    table.shape[0] === rows && width % headDim === 0 && kvWidth % headDim === 0 && fitsHeads(angles, headDim);
  if (!fits) {
    throw new RangeError(
      `Cannot rotate and keep q [${q.shape}], k [${k.shape}] and v [${v.shape}] with positions [${positions.shape}], ` +
        `a block table [${table.shape}] and a rope table [${angles.cos.shape}]: need one row of each for every row ` +
        `of q, heads of headDim (${headDim}), a multiple of 4, and a rope table [P, headDim/2] or of fewer columns`,
    );
  }
  return rows;
}

/**
 * Rotates q and k by the rows' positions and writes k and v into the rows' blocks, in place: the bits of `rope` for
 * both, then `kvAppend` with owners 0 .. R-1. No gradient. Places and blocks are read on the GPU, as `kvAppend` does.
 * @returns q rotated, f32 [R, heads*headDim]
 * @throws RangeError when the shapes do not fit together
 */
export function ropeKv(
  pool: KvPool,
  { q, k, v, positions }: FreshRows,
  angles: RopeTable,
  { table, blockShift }: BlockTable,
  { headDim }: { headDim: number },
): Tensor {
  const rows = checkFresh(pool, { q, k, v, positions }, angles, { table, blockShift }, headDim);
  const [width, kvWidth] = [q.shape[1]!, k.shape[1]!];
  const rotated = emptyTensor([rows, width]);
  const [heads, kvHeads] = [width / headDim, kvWidth / headDim];
  const count = rows * (headUnits(heads) + headUnits(kvHeads)) * headDim / 4;
  runKernel({
    kernel: "rope_kv",
    constants: { WG, FORMAT: FORMAT_CODE[pool.format] },
    bindings: {
      q,
      k,
      v,
      positions,
      cosines: angles.cos,
      sines: angles.sin,
      table,
      rotated,
      k_pool: pool.k,
      v_pool: pool.v,
    },
    params: {
      count,
      heads,
      kv_heads: kvHeads,
      quarter: headDim / 4,
      part: angles.cos.shape[1]! / 2,
      last_position: angles.cos.shape[0] - 1,
      columns: table.shape[1]!,
      block_shift: blockShift,
    },
    workgroups: foldGrid(Math.ceil(count / WG)),
  });
  return rotated;
}

type Values = ArrayLike<number>;

/** Twin of rope_kv.wgsl in f64. @returns q rotated, and the changed pools */
export function ropeKvF64(
  pools: { k: Values; v: Values },
  fresh: { q: Values; k: Values; v: Values; positions: Values },
  angles: { cos: Values; sin: Values; half?: number },
  table: { values: Values; columns: number; blockShift: number },
  headDim: number,
) {
  const { q, k, v, positions } = fresh;
  const owners = Array.from(positions, (_, r) => r);
  const width = k.length / positions.length;
  const keep = (pool: Values, values: Values) =>
    kvAppendF64(pool, { values, owners, positions }, table, width);
  return {
    q: ropeF64(q, positions, angles, headDim),
    k: keep(pools.k, ropeF64(k, positions, angles, headDim)),
    v: keep(pools.v, v),
  };
}
