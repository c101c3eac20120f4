import { ropeTable } from "../../../src/ops/attention/rope_table.ts";
import { ropeKv, ropeKvF64 } from "../../../src/ops/attention/rope_kv.ts";
import { type OpCase, uniform } from "../case.ts";

/** Packed pools are compared to the bit with the ops that this one is made of: test/gpu/fused_bits.test.ts. */
interface RopeKvShape {
  heads: number;
  kvHeads: number;
  headDim: number;
  /** Values of a head that turn; all unless given. */
  rotated?: number;
  /** Of the new token of each row. */
  positions: number[];
  blockShift: number;
  blocks: number;
  /** Rows of the block table. */
  table: number[][];
  benchOnly?: boolean;
}

/** Of the rope table: more than any case needs. */
function ropeKvCase(shape: RopeKvShape): OpCase {
  const { heads, kvHeads, headDim, rotated = headDim, positions, blockShift, blocks, table, benchOnly } =
    shape;
  const rows = positions.length;
  const columns = table[0].length;
  const [width, kvWidth] = [heads * headDim, kvHeads * headDim];
  const poolShape = [blocks, 2 ** blockShift, kvWidth];
  const angles = ropeTable(Math.max(...positions) + 1, rotated, 10000);
  const angleInput = (values: Float32Array) => ({ shape: angles.shape, values: Float64Array.from(values) });
  return {
    name: `rope_kv ${rows} rows, ${heads}/${kvHeads} heads of ${headDim}${
      rotated < headDim ? ` of which ${rotated}` : ""
    }, blocks of ${2 ** blockShift}`,
    inputs: {
      kPool: uniform(1, poolShape),
      vPool: uniform(2, poolShape),
      q: uniform(3, [rows, width]),
      k: uniform(4, [rows, kvWidth]),
      v: uniform(5, [rows, kvWidth]),
      positions: { shape: [rows], values: Int32Array.from(positions) },
      table: { shape: [rows, columns], values: Int32Array.from(table.flat()) },
      cos: angleInput(angles.cos),
      sin: angleInput(angles.sin),
    },
    run: ({ tensors: { kPool, vPool, q, k, v, positions, table, cos, sin } }) => {
      const pool = { k: kPool, v: vPool, format: "f32" } as const;
      return [
        ropeKv(pool, { q, k, v, positions }, { cos, sin }, { table, blockShift }, { headDim }),
        kPool,
        vPool,
      ];
    },
    twin: ({ kPool, vPool, q, k, v, positions, table, cos, sin }) => {
      const blockTable = { values: table, columns, blockShift };
      const pools = { k: kPool, v: vPool };
      const half = rotated / 2;
      const after = ropeKvF64(pools, { q, k, v, positions }, { cos, sin, half }, blockTable, headDim);
      return [after.q, after.k, after.v];
    },
    tolerance: 1e-6,
    toleranceReason: "two products and a sum in f32",
    benchOnly,
    bench: { bytes: 2 * rows * (width + 2 * kvWidth) * 4 },
  };
}

/** One token at `position` for each of `rows` rows of their own blocks. */
function decodeStep(rows: number, position: number, blockShift: number) {
  const perRow = 1 + (position >> blockShift);
  return {
    blockShift,
    blocks: rows * perRow,
    positions: new Array(rows).fill(position),
    table: Array.from(
      { length: rows },
      (_, r) => [0, ...Array.from({ length: perRow }, (_, b) => r * perRow + b)],
    ),
  };
}

// Rows of two prompts, the one between past what the table holds, a retired one, and one short of its block's end.
const MIXED = {
  blockShift: 2,
  blocks: 6,
  positions: [4, 12, 11, 0, 3],
  table: [[3, 5, 0, -1], [0, 3, -1, -1], [0, 2, 4, 1], [-1, -1, -1, -1], [0, 3, -1, -1]],
};

export const cases: OpCase[] = [
  ropeKvCase({ heads: 1, kvHeads: 1, headDim: 4, positions: [1], blockShift: 1, blocks: 1, table: [[0, 0]] }),
  ropeKvCase({ ...MIXED, heads: 6, kvHeads: 2, headDim: 12 }),
  ropeKvCase({ ...MIXED, heads: 6, kvHeads: 2, headDim: 16, rotated: 12 }),
  ropeKvCase({ ...decodeStep(37, 31, 4), heads: 9, kvHeads: 5, headDim: 16 }),
  ropeKvCase({ ...decodeStep(17, 31, 4), heads: 4, kvHeads: 2, headDim: 16 }),
  ropeKvCase({ ...decodeStep(64, 31, 4), heads: 4, kvHeads: 4, headDim: 16, benchOnly: true }),
  ropeKvCase({ ...decodeStep(60, 200, 4), heads: 32, kvHeads: 8, headDim: 64, benchOnly: true }),
];
