/** Keys and values of tokens, kept in blocks while completions are sampled. */
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { FORMAT_CODE, type WeightFormat } from "../weight/weight.ts";

const WG = 64;

/** Keys and values of one layer. A block is room for B tokens of one row, all key heads; any row may have any block. */
export interface KvPool {
  /**
   * [blocks, B, kvHeads*headDim] in `format`: f32, or packed two to an i32 word as a Weight is. B a power of two, 2 at
   * least.
   */
  k: Tensor;
  v: Tensor;
  format: WeightFormat;
}

/** Which blocks hold a row's tokens: token t is in its block number place / B at place % B, place = column 0 + t. */
export interface BlockTable {
  /** i32 [R, C]: place of the row's token 0 in its first block (-1: it holds nothing), then its blocks in order. */
  table: Tensor;
  /** log2(B) */
  blockShift: number;
}

/** Tokens to be kept, N of them. */
export interface FreshTokens {
  /** f32 [N, kvHeads*headDim] */
  k: Tensor;
  v: Tensor;
  /** i32 [N]: row of the table that each belongs to; -1 = none, it is not kept. */
  owners: Tensor;
  /** i32 [N]: its place among the row's tokens. */
  positions: Tensor;
}

/** @throws RangeError when a pool's tensors are not [blocks, 2^blockShift, width] in the pool's format */
export function checkPool({ k, v, format }: KvPool, width: number, blockShift: number): void {
  const words = format === "f32" ? width : width / 2;
  const fits = ({ shape }: Tensor) =>
    shape.length === 3 && shape[1] === 2 ** blockShift && shape[2] === words;
  if (blockShift < 1 || width % 4 || !fits(k) || !fits(v)) {
    throw new RangeError(
      `Cannot use pools [${k.shape}] and [${v.shape}] in ${format} for blocks of ${
        2 ** blockShift
      } tokens of width ` +
        `${width}: need [blocks, ${
          2 ** blockShift
        }, ${words}], at least 2 tokens a block and a width that is a multiple of 4`,
    );
  }
}

/**
 * Writes the tokens' keys and values into their blocks, in place; no gradient. Places outside the table write nothing.
 * Places and blocks are read on the GPU, so a recorded plan can replay this for token after token.
 * @throws RangeError when the shapes do not fit together
 */
export function kvAppend(pool: KvPool, fresh: FreshTokens, { table, blockShift }: BlockTable): void {
  const { k, v, owners, positions } = fresh;
  const [tokens, width] = k.shape as [number, number];
  checkPool(pool, width, blockShift);
  if (v.size !== k.size || owners.size !== tokens || positions.size !== tokens) {
    throw new RangeError(
      `Cannot append k [${k.shape}] and v [${v.shape}] with owners [${owners.shape}] and positions ` +
        `[${positions.shape}]: need k and v of one shape [N, W], and one owner and position for each of the N`,
    );
  }
  const count = tokens * width / 4;
  runKernel({
    kernel: "kv_append",
    constants: { WG, FORMAT: FORMAT_CODE[pool.format] },
    bindings: { k, v, owners, positions, table, k_pool: pool.k, v_pool: pool.v },
    params: { count, width4: width / 4, columns: table.shape[1]!, block_shift: blockShift },
    workgroups: foldGrid(Math.ceil(count / WG)),
  });
}

type Values = ArrayLike<number>;

/**
 * Row of the pool, counted in tokens, that holds token `position` of table row `row`; -1 when there is none.
 * @param columns of the table
 */
export function poolSlot(
  table: Values,
  columns: number,
  blockShift: number,
  row: number,
  position: number,
): number {
  const start = row < 0 ? -1 : table[row * columns];
  const place = start + position;
  const column = 1 + (place >> blockShift);
  if (start < 0 || position < 0 || column >= columns) return -1;
  return table[row * columns + column] * 2 ** blockShift + place % 2 ** blockShift;
}

/** Twin of kv_append.wgsl for one of keys and values. @returns the changed pool [blocks, B, W] */
export function kvAppendF64(
  pool: Values,
  fresh: { values: Values; owners: Values; positions: Values },
  table: { values: Values; columns: number; blockShift: number },
  width: number,
): Float64Array {
  const changed = Float64Array.from(pool);
  for (let n = 0; n < fresh.owners.length; n++) {
    const { values, columns, blockShift } = table;
    const slot = poolSlot(values, columns, blockShift, fresh.owners[n], fresh.positions[n]);
    if (slot < 0) continue;
    for (let w = 0; w < width; w++) changed[slot * width + w] = fresh.values[n * width + w];
  }
  return changed;
}
