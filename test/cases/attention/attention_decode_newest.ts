import {
  attentionDecodeF64,
  attentionDecodeNewest,
  decodeVariant,
} from "../../../src/ops/attention/attention_decode.ts";
import type { AttentionShape } from "../../../src/ops/attention/attention_shape.ts";
import { ropeTable } from "../../../src/ops/attention/rope_table.ts";
import { ropeKvF64 } from "../../../src/ops/attention/rope_kv.ts";
import { type OpCase, uniform } from "../case.ts";

/** Other pools, windows and positions: attention_decode.ts and rope_kv.ts. */
interface NewestShape {
  rows: number;
  /** Of every row's newest token, each in blocks of its own. */
  position: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  softcap?: number;
  gpuLanes?: boolean;
}

const BLOCK_SHIFT = 4;

/** Queries and keys are rotated and kept, then attended to. */
function newestCase({ rows, position, gpuLanes, ...heads }: NewestShape): OpCase {
  const shape: AttentionShape = { ...heads, scale: heads.headDim ** -0.5 };
  const { headDim, softcap } = shape;
  const [width, kvWidth] = [shape.heads * headDim, shape.kvHeads * headDim];
  const perRow = 1 + (position >> BLOCK_SHIFT);
  const table = Int32Array.from({ length: rows * (perRow + 1) }, (_, i) => {
    const column = i % (perRow + 1);
    return column === 0 ? 0 : Math.floor(i / (perRow + 1)) * perRow + column - 1;
  });
  const poolShape = [rows * perRow, 2 ** BLOCK_SHIFT, kvWidth];
  const angles = ropeTable(position + 1, headDim, 10000);
  const angleInput = (values: Float32Array) => ({ shape: angles.shape, values: Float64Array.from(values) });
  return {
    name:
      `attention_decode_newest ${rows} rows at ${position}, ${shape.heads}/${shape.kvHeads} heads of ${headDim}` +
      `${softcap === undefined ? "" : ` softcap ${softcap}`}${gpuLanes ? ", lanes as on a GPU" : ""}`,
    inputs: {
      kPool: uniform(1, poolShape),
      vPool: uniform(2, poolShape),
      q: uniform(3, [rows, width], 2),
      k: uniform(4, [rows, kvWidth], 2),
      v: uniform(5, [rows, kvWidth]),
      positions: { shape: [rows], values: new Int32Array(rows).fill(position) },
      table: { shape: [rows, perRow + 1], values: table },
      cos: angleInput(angles.cos),
      sin: angleInput(angles.sin),
    },
    run: ({ tensors: { kPool, vPool, q, k, v, positions, table, cos, sin } }) => {
      const kept = { table, blockShift: BLOCK_SHIFT, pool: { k: kPool, v: vPool, format: "f32" } as const };
      const variant = gpuLanes ? decodeVariant(shape, false) : undefined;
      const o = attentionDecodeNewest({ q, k, v, positions }, { cos, sin }, kept, shape, variant);
      return [o, kPool, vPool];
    },
    twin: ({ kPool, vPool, q, k, v, positions, table, cos, sin }) => {
      const blockTable = { values: table, columns: perRow + 1, blockShift: BLOCK_SHIFT };
      const pools = { k: kPool, v: vPool };
      const half = headDim / 2;
      const after = ropeKvF64(pools, { q, k, v, positions }, { cos, sin, half }, blockTable, headDim);
      const context = { k: after.k, v: after.v, table, positions, blockShift: BLOCK_SHIFT };
      return [attentionDecodeF64(after.q, context, shape), after.k, after.v];
    },
    tolerance: 1e-5,
    toleranceReason: "as attention_decode, of queries and keys that are two products and a sum in f32",
  };
}

export const cases: OpCase[] = [
  newestCase({ rows: 3, position: 20, heads: 4, kvHeads: 2, headDim: 16 }),
  newestCase({ rows: 1, position: 0, heads: 3, kvHeads: 3, headDim: 16 }),
  newestCase({ rows: 2, position: 37, heads: 4, kvHeads: 4, headDim: 16, softcap: 2, gpuLanes: true }),
  newestCase({ rows: 3, position: 15, heads: 6, kvHeads: 2, headDim: 16, gpuLanes: true }),
];
