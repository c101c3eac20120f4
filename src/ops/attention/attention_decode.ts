/** Attention of the newest token of each completion, over the blocks of its prompt and of its own tokens. */
import type { Tensor } from "@tensorflow/tfjs";
import { hasSimd8, isSoftwareDevice } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { emptyTensor } from "../../gpu/tensors.ts";
import { cappedF64 } from "./attention_f64.ts";
import { type AttentionShape, checkAttentionShape } from "./attention_shape.ts";
import { type BlockTable, checkPool, type KvPool, poolSlot } from "./kv_append.ts";
import { FORMAT_CODE } from "../weight/weight.ts";

/** Vectors of four columns that a lane holds without a loop, of all its heads: more would take seconds to compile. */
const LANE_VECTORS = 8;
/** Vectors that the lanes of a GPU's workgroup hold together, for the 16 KB of memory that every device has. */
const WORKGROUP_VECTORS = 256;
const SIMD8_LANES = 8;
/** Vectors of all its heads that a lane has room for without asking for more (WIDE). */
const ROOM = 32;
/** Tokens that a row sees where no window slides. */
const ALL_TOKENS = 2 ** 32 - 1;

/** How a workgroup shares out the keys of a row: constants of the kernel, which says what they mean. */
export interface DecodeLanes {
  LANES: number;
  /** A power of two; neighbouring lanes. */
  PER_KEY: number;
  HEADS: number;
  TILE: number;
  TURN: number;
}

/** Query heads of a workgroup: the largest part of those of a key head that a lane can hold. */
function headsAtOnce({ heads, kvHeads }: AttentionShape, vectorsEach: number): number {
  const sharing = heads / kvHeads;
  let count = Math.max(1, Math.min(sharing, Math.floor(LANE_VECTORS / vectorsEach)));
  while (sharing % count) count--;
  return count;
}

/** On a CPU a lane for each key. On a GPU neighbours share a key, two vectors each where its width allows. */
export function decodeLanes(shape: AttentionShape, software: boolean): DecodeLanes {
  const vectors = shape.headDim / 4;
  let PER_KEY = 1;
  while (!software && vectors > 2 * PER_KEY && vectors % (2 * PER_KEY) === 0) PER_KEY *= 2;
  const own = vectors / PER_KEY;
  const HEADS = headsAtOnce(shape, own);
  const fitting = 2 ** Math.floor(Math.log2(WORKGROUP_VECTORS / (HEADS * own)));
  const LANES = software ? SIMD8_LANES : Math.max(fitting, 2 * PER_KEY);
  if (own > LANE_VECTORS) return { LANES, PER_KEY, HEADS, TILE: 4, TURN: own % 2 ? 1 : 2 };
  return { LANES, PER_KEY, HEADS, TILE: software ? 1 : 2, TURN: own };
}

/** Keys and values that a new token sees: tokens 0 .. position of its row, the last of them its own. */
export interface DecodeContext extends BlockTable {
  pool: KvPool;
  /** i32 [R] */
  positions: Tensor;
}

/**
 * o[r] = softmax_t(scale q[r].k[t]) v[t] over the row's tokens, the last `window` of them where the shape has one; 0
 * for a row that holds nothing. No gradient. Completions of one prompt share its blocks. All lengths are read on the
 * GPU, so a recorded plan can replay it while they change.
 * @param q f32 [R, heads*headDim]
 * @param lanes decodeLanes() of the device where not given
 * @returns f32 [R, heads*headDim]
 * @throws RangeError when the shapes do not fit together
 */
export function attentionDecode(
  q: Tensor,
  context: DecodeContext,
  shape: AttentionShape,
  lanes: DecodeLanes = decodeLanes(shape, isSoftwareDevice()),
): Tensor {
  const { pool, table, positions, blockShift } = context;
  const { heads, kvHeads, headDim, scale, softcap, window = ALL_TOKENS } = shape;
  checkAttentionShape(shape, { q: [q, heads] });
  checkPool(pool, kvHeads * headDim, blockShift);
  const rows = q.shape[0];
  const columns = table.shape[1] ?? 0;
  if (table.shape[0] !== rows || columns < 2 || positions.size !== rows) {
    throw new RangeError(
      `Cannot decode ${rows} rows with a block table [${table.shape}] and positions [${positions.shape}]: need one ` +
        "row of the table, with room for a block, and one position for each",
    );
  }
  const VECTORS = headDim / 4;
  const { LANES, PER_KEY, ...held } = lanes;
  const SIMD8 = hasSimd8() && LANES === SIMD8_LANES && PER_KEY === 1;
  const plain = { LANES, PER_KEY, PARTIALS: LANES * lanes.HEADS * VECTORS / PER_KEY };
  const o = emptyTensor([rows, heads * headDim]);
  runKernel({
    kernel: "attention_decode",
    conditions: { SIMD8, WIDE: lanes.HEADS * VECTORS / PER_KEY > ROOM, SOFTCAP: softcap !== undefined },
    constants: { ...held, ...(SIMD8 ? {} : plain), VECTORS, FORMAT: FORMAT_CODE[pool.format] },
    bindings: { q, k_pool: pool.k, v_pool: pool.v, table, positions, o },
    params: {
      rows,
      heads,
      kv_heads: kvHeads,
      columns,
      scale,
      block_shift: blockShift,
      turns: VECTORS / PER_KEY / lanes.TURN,
      window: Math.min(window, ALL_TOKENS),
      ...(softcap === undefined ? {} : { softcap }),
    },
    workgroups: foldGrid(rows * heads / lanes.HEADS),
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
  const { heads, kvHeads, headDim, scale, softcap, window = Infinity } = shape;
  const columns = table.length / positions.length;
  const o = new Float64Array(q.length);
  for (let slot = 0; slot < q.length / headDim; slot++) {
    const row = Math.floor(slot / heads);
    const kvHead = Math.floor((slot % heads) / (heads / kvHeads));
    const seen: { base: number; score: number }[] = [];
    const first = Math.max(0, positions[row] + 1 - window);
    for (let t = first; t <= positions[row] && table[row * columns] >= 0; t++) {
      const base = (poolSlot(table, columns, blockShift, row, t) * kvHeads + kvHead) * headDim;
      let dot = 0;
      for (let c = 0; c < headDim; c++) dot += q[slot * headDim + c] * k[base + c];
      seen.push({ base, score: cappedF64(scale * dot, softcap).score });
    }
    const most = seen.reduce((m, { score }) => Math.max(m, score), -Infinity);
    const total = seen.reduce((sum, { score }) => sum + Math.exp(score - most), 0);
    for (const { base, score } of seen) {
      for (let c = 0; c < headDim; c++) o[slot * headDim + c] += Math.exp(score - most) / total * v[base + c];
    }
  }
  return o;
}
