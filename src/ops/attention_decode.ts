/** Attention of the newest token of each completion, over the blocks of its prompt and of its own tokens. */
import type { Tensor } from "@tensorflow/tfjs";
import { emptyTensor, f32, foldGrid, runKernel, u32 } from "../gpu/bridge.ts";
import { type AttentionShape, checkAttentionShape } from "./attention.ts";
import { type BlockTable, checkPool, type KvPool, poolSlot } from "./kv_append.ts";
import { FORMAT_CODE } from "./weight.ts";

const WG = 32; // at least headDim / 4

/** Keys and values that a new token sees: tokens 0 .. position of its row, the last of them its own. */
export interface DecodeContext extends BlockTable {
  pool: KvPool;
  /** i32 [R] */
  positions: Tensor;
}

/**
 * o[r] = softmax_t(scale q[r].k[t]) v[t] over the row's tokens; 0 for a row that holds nothing. No gradient. Completions
 * of one prompt share its blocks. All lengths are read on the GPU, so a recorded plan can replay it while they change.
 * @param q f32 [R, heads*headDim]
 * @returns f32 [R, heads*headDim]
 * @throws RangeError when the shapes do not fit together
 */
export function attentionDecode(q: Tensor, context: DecodeContext, shape: AttentionShape): Tensor {
  const { pool, table, positions, blockShift } = context;
  const { heads, kvHeads, headDim, scale } = shape;
  checkAttentionShape(shape, { q: [q, heads] });
  checkPool(pool, kvHeads * headDim, blockShift);
  const rows = q.shape[0];
  const columns = table.shape[1] ?? 0;
  if (table.shape[0] !== rows || columns < 2 || positions.size !== rows) {
    throw new RangeError(
      `Cannot decode ${rows} rows with a block table [${table.shape}] and positions [${positions.shape}]: need one row ` +
        "of the table, with room for a block, and one position for each",
    );
  }
  const o = emptyTensor([rows, heads * headDim]);
  const inputs = [q, pool.k, pool.v, table, positions];
  runKernel({
    kernel: "attention_decode",
    constants: { WG, FORMAT: FORMAT_CODE[pool.format] },
    bindings: [...inputs.map((tensor) => ({ tensor })), { tensor: o, written: true }],
    params: [
      u32(rows),
      u32(heads),
      u32(kvHeads),
      u32(columns),
      f32(scale),
      u32(headDim / 4),
      u32(blockShift),
    ],
    workgroups: foldGrid(rows * heads),
  });
  return o;
}

type Values = ArrayLike<number>;

/** Twin of attention_decode.wgsl in f64. @returns o [R, heads*headDim] */
export function attentionDecodeF64(
  q: Values,
  context: { k: Values; v: Values; table: Values; positions: Values; blockShift: number },
  shape: AttentionShape,
): Float64Array {
  const { k, v, table, positions, blockShift } = context;
  const { heads, kvHeads, headDim, scale } = shape;
  const columns = table.length / positions.length;
  const o = new Float64Array(q.length);
  for (let slot = 0; slot < q.length / headDim; slot++) {
    const row = Math.floor(slot / heads);
    const kvHead = Math.floor((slot % heads) / (heads / kvHeads));
    const seen: { base: number; score: number }[] = [];
    for (let t = 0; t <= positions[row] && table[row * columns] >= 0; t++) {
      const base = (poolSlot(table, columns, blockShift, row, t) * kvHeads + kvHead) * headDim;
      let dot = 0;
      for (let c = 0; c < headDim; c++) dot += q[slot * headDim + c] * k[base + c];
      seen.push({ base, score: scale * dot });
    }
    const most = seen.reduce((m, { score }) => Math.max(m, score), -Infinity);
    const total = seen.reduce((sum, { score }) => sum + Math.exp(score - most), 0);
    for (const { base, score } of seen) {
      for (let c = 0; c < headDim; c++) o[slot * headDim + c] += Math.exp(score - most) / total * v[base + c];
    }
  }
  return o;
}
