/** Attention of the newest token of each completion, over the blocks of its prompt and of its own tokens. */
import type { Tensor } from "@tensorflow/tfjs";
import { deviceLimits, hasSimd8, isSoftwareDevice } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { emptyTensor } from "../../gpu/tensors.ts";
import { cappedF64 } from "./attention_f64.ts";
import { type AttentionShape, checkAttentionShape, powerScale, SPLIT_KEYS } from "./attention_shape.ts";
import { type BlockTable, checkPool, type KvPool, poolSlot } from "./kv_append.ts";
import type { RopeTable } from "./rope.ts";
import { checkFresh, type FreshRows, ropeKv } from "./rope_kv.ts";
import { FORMAT_CODE } from "../weight/weight.ts";

/** Vectors of four columns that a lane of a CPU holds without a loop, of all its heads: more would compile slowly. */
const LANE_VECTORS = 8;
const SIMD8_LANES = 8;
/** Vectors of all its heads that a lane has room for without asking for more (WIDE). */
const ROOM = 32;
/** Tokens that a row sees where no window slides. */
const ALL_TOKENS = 2 ** 32 - 1;
/** Query heads of a workgroup that are grouped. */
const GROUPED_HEADS = 4;
/** Lanes of a GPU's workgroup, one for each vector of a head: for heads up to so many columns, and for wider ones. */
const GPU_LANES = 32;
const NARROW_HEAD = 4 * GPU_LANES;
const WIDE_GPU_LANES = 64;
/** Keys that a GPU stages at once, where they fit. */
const MOST_KEYS = 32;
const MERGE_LANES = 256;

/** Query heads of a workgroup for 8-wide subgroups: the largest part of those of a key head that a lane can hold. */
function headsAtOnce({ heads, kvHeads, headDim }: AttentionShape): number {
  const sharing = heads / kvHeads;
  let count = Math.max(1, Math.min(sharing, Math.floor(4 * LANE_VECTORS / headDim)));
  while (sharing % count) count--;
  return count;
}

/** How the plain kernel shares out a row: GPUs take a workgroup for each split and add those; CPUs take all in one. */
export interface DecodeVariant {
  WHOLE: boolean;
  GROUPED: boolean;
  LANES: number;
  /** That are staged at once. */
  KEYS: number;
}

export function decodeVariant(
  { heads, kvHeads, headDim }: AttentionShape,
  software: boolean,
): DecodeVariant {
  const GROUPED = heads / kvHeads > 1;
  if (software) return { WHOLE: true, GROUPED, LANES: SIMD8_LANES, KEYS: 0 };
  const LANES = headDim > NARROW_HEAD ? WIDE_GPU_LANES : GPU_LANES;
  const { maxComputeWorkgroupStorageSize } = deviceLimits();
  const heads4 = 4 * (GROUPED ? GROUPED_HEADS : 1);
  // Queries twice, as they come and rotated; keys in f32, a line and 8 bytes to spare.
  const others = 4 * SPLIT_KEYS + heads4 * (2 * headDim + SPLIT_KEYS + LANES);
  let KEYS = MOST_KEYS;
  while (KEYS > 1 && others + KEYS * (4 * headDim + 8) > maxComputeWorkgroupStorageSize) KEYS /= 2;
  return { WHOLE: false, GROUPED, LANES, KEYS };
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
 * @param variant decodeVariant() of the device where not given
 * @returns f32 [R, heads*headDim]
 * @throws RangeError when the shapes do not fit together
 */
export function attentionDecode(
  q: Tensor,
  context: DecodeContext,
  shape: AttentionShape,
  variant: DecodeVariant = decodeVariant(shape, isSoftwareDevice()),
): Tensor {
  const run = decodeRun(q, context, shape);
  const rows = q.shape[0];
  const o = emptyTensor([rows, shape.heads * shape.headDim]);
  if (!variant.WHOLE) runSplits(run, o, rows, shape, variant);
  else if (hasSimd8()) runSimd8(run, o, rows, shape);
  else runWhole(run, o, rows, shape, variant);
  return o;
}

/**
 * `ropeKv`, then `attentionDecode` of its rotated queries: the same bits in pools and o, on GPUs in one kernel less.
 * @param variant decodeVariant() of the device where not given
 * @returns f32 [R, heads*headDim]
 * @throws RangeError when the shapes do not fit together
 */
export function attentionDecodeNewest(
  fresh: FreshRows,
  angles: RopeTable,
  { pool, ...table }: BlockTable & { pool: KvPool },
  shape: AttentionShape,
  variant: DecodeVariant = decodeVariant(shape, isSoftwareDevice()),
): Tensor {
  const { q, k, v, positions } = fresh;
  const { headDim } = shape;
  const context = { ...table, pool, positions };
  if (variant.WHOLE) {
    return attentionDecode(ropeKv(pool, fresh, angles, table, { headDim }), context, shape, variant);
  }
  const run = decodeRun(q, context, shape);
  const rows = checkFresh(pool, fresh, angles, table, headDim);
  const o = emptyTensor([rows, shape.heads * headDim]);
  runSplits(run, o, rows, shape, variant, {
    bindings: { k, v, cosines: angles.cos, sines: angles.sin },
    params: { part: angles.cos.shape[1]! / 2, last_position: angles.cos.shape[0] - 1 },
  });
  return o;
}

function decodeRun(q: Tensor, context: DecodeContext, shape: AttentionShape): DecodeRun {
  const { pool, table, positions, blockShift } = context;
  const { heads, kvHeads, headDim, softcap, window = ALL_TOKENS } = shape;
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
  const reached = Math.ceil(((columns - 1) << blockShift) / SPLIT_KEYS);
  const splits = Math.min(reached, Math.ceil(window / SPLIT_KEYS) + 1);
  return {
    bindings: { q, k_pool: pool.k, v_pool: pool.v, table, positions },
    constants: { VECTORS: headDim / 4, FORMAT: FORMAT_CODE[pool.format] },
    params: {
      rows,
      heads,
      kv_heads: kvHeads,
      columns,
      scale: powerScale(shape),
      block_shift: blockShift,
      window: Math.min(window, ALL_TOKENS),
      splits,
      ...(softcap === undefined ? {} : { softcap }),
    },
    SOFTCAP: softcap !== undefined,
  };
}

/** What all kernels of a call are given. */
interface DecodeRun {
  bindings: Record<string, Tensor>;
  constants: { VECTORS: number; FORMAT: number };
  params: Record<string, number>;
  SOFTCAP: boolean;
}

function runSimd8(
  { bindings, constants, params, SOFTCAP }: DecodeRun,
  o: Tensor,
  rows: number,
  shape: AttentionShape,
) {
  const { VECTORS } = constants;
  const HEADS = headsAtOnce(shape);
  const wide = VECTORS % 2 ? 1 : 2;
  runKernel({
    kernel: "attention_decode_simd8",
    conditions: { WIDE: HEADS * VECTORS > ROOM, SOFTCAP },
    constants: {
      ...constants,
      HEADS,
      TURN: VECTORS > LANE_VECTORS ? wide : VECTORS,
      COLUMNS: Math.ceil(VECTORS / 2),
    },
    bindings: { ...bindings, o },
    params,
    workgroups: foldGrid(rows * shape.heads / HEADS),
  });
}

/** Workgroups of a split. */
const workgroupsOf = (rows: number, { heads, kvHeads }: AttentionShape, { GROUPED }: DecodeVariant) =>
  rows * kvHeads * Math.ceil(heads / kvHeads / (GROUPED ? GROUPED_HEADS : 1));

function runWhole(
  { bindings, constants, params, SOFTCAP }: DecodeRun,
  o: Tensor,
  rows: number,
  shape: AttentionShape,
  variant: DecodeVariant,
) {
  const { GROUPED, LANES } = variant;
  runKernel({
    kernel: "attention_decode",
    conditions: { GROUPED, SOFTCAP },
    constants: { ...constants, LANES },
    bindings: { ...bindings, o },
    params,
    workgroups: foldGrid(workgroupsOf(rows, shape, variant)),
  });
}

/** @param newest what is rotated and kept first */
function runSplits(
  { bindings, constants, params, SOFTCAP }: DecodeRun,
  o: Tensor,
  rows: number,
  shape: AttentionShape,
  variant: DecodeVariant,
  newest?: Pick<DecodeRun, "bindings" | "params">,
) {
  const { GROUPED, LANES, KEYS } = variant;
  const partial = emptyTensor([rows, shape.heads, params.splits, shape.headDim + 4]);
  runKernel({
    kernel: "attention_decode_split",
    conditions: { GROUPED, SOFTCAP, NEWEST: newest !== undefined },
    constants: { ...constants, LANES, KEYS },
    bindings: { ...bindings, ...newest?.bindings, partial },
    params: { ...params, ...newest?.params },
    workgroups: foldGrid(params.splits * workgroupsOf(rows, shape, variant)),
  });
  const { table, positions } = bindings;
  runKernel({
    kernel: "attention_decode_merge",
    conditions: { SOFTCAP },
    constants: { WG: MERGE_LANES, VECTORS: constants.VECTORS },
    bindings: { table, positions, partial, o },
    params,
    workgroups: foldGrid(rows),
  });
  partial.dispose();
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
