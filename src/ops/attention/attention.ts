/** Causal softmax attention over packed sequences: memory linear in the tokens (arXiv:2205.14135). */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { disposeInfo, newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import { gradStats, runAttention, runAttentionGradKv, runAttentionGradQ } from "./attention_kernels.ts";
import { type AttentionShape, checkAttentionShape, SPLIT_KEYS } from "./attention_shape.ts";
import {
  runAttentionGradKvTiles,
  runAttentionGradQTiles,
  runAttentionTiles,
  runsInTiles,
} from "./attention_tiles.ts";
import { windowRanges } from "./attention_window.ts";

export type { AttentionShape };

/** Keys and values of P rows that several sequences see before their own: a prompt's, computed once for all. */
export interface PrefixKeys {
  /** f32 [P, kvHeads*headDim], rotated */
  k: Tensor;
  /** f32 [P, kvHeads*headDim] */
  v: Tensor;
  /**
   * Gradient accumulators in the shape of k and v; null: not wanted. Backward adds into them, queries in order,
   * starting from what they hold: passes over parts of the readers, one after the other, give the same bits as one
   * pass.
   */
  dk: Tensor | null;
  dv: Tensor | null;
}

/** Which rows see which of a prefix. */
export interface PrefixRows {
  /** i32 [N,2]: half-open range of prefix rows that each token sees before its own sequence; empty: none. */
  ranges: Tensor;
  /** i32 [P,2]: half-open range of the rows of q that see each prefix row: without gaps; empty: none. */
  readers: Tensor;
}

/** A prefix as attention reads it. */
export type Prefix = PrefixKeys & PrefixRows;

export interface AttentionInputs {
  /** f32 [N, heads*headDim] */
  q: Tensor;
  /** f32 [N, kvHeads*headDim] */
  k: Tensor;
  /** f32 [N, kvHeads*headDim] */
  v: Tensor;
  /** i32 [N,2]: half-open row range of each token's sequence; sequences lie end to end, in order. */
  bounds: Tensor;
  /** What stands before the sequences; null or left out: nothing. */
  prefix?: Prefix | null;
}

interface AttentionAttrs extends AttentionShape {
  prefix: Prefix | null;
}

/** Ranges of rows as the kernels read them, and what of them is to be disposed. */
interface SeenRanges {
  own: TensorInfo;
  before?: TensorInfo;
  walk?: TensorInfo;
  dispose(): void;
}

/** The given ranges, or what a window leaves of them, where any row has tokens beyond it. */
function seenRanges(bounds: TensorInfo, { prefix, window = Infinity }: AttentionAttrs): SeenRanges {
  const rows = bounds.shape[0] + (prefix ? prefix.k.shape[0] : 0);
  if (window >= rows) return { own: bounds, before: prefix?.ranges, dispose() {} };
  const made = windowRanges(bounds, prefix ? prefix.ranges : null, window);
  const { own, before, walk } = made;
  const dispose = () => [own, before, walk].forEach((each) => each && disposeInfo(each));
  return { own, before: before ?? undefined, walk: walk ?? undefined, dispose };
}

/** Room for the sums of splits that ended (lib/attention_splits.wgsl): where no sequence has two, for none. */
function newEndedSplits(rows: number, prefix: Prefix | null, { heads, headDim }: AttentionShape): TensorInfo {
  const needed = prefix !== null || rows > SPLIT_KEYS;
  return newTensor([needed ? rows : 1, heads * (headDim + 4)]);
}

/** What the tiles read of a prefix. */
const prefixBindings = (prefix: Prefix | null): Record<string, TensorInfo> =>
  prefix ? { ranges: prefix.ranges, prefix_k: prefix.k, prefix_v: prefix.v } : {};

const prefixRowsOf = (prefix: Prefix | null) => prefix ? prefix.k.shape[0] : null;

function tiled(
  inputs: Record<ForwardInput, TensorInfo>,
  prefix: Prefix | null,
  shape: AttentionShape,
): TensorInfo[] {
  const [rows] = inputs.q.shape;
  const [o, softmax] = [newTensor(inputs.q.shape), newTensor([rows, shape.heads, 2])];
  const pass = { shape, rows, prefixRows: prefixRowsOf(prefix) };
  runAttentionTiles({ ...inputs, ...prefixBindings(prefix), o, softmax }, pass);
  return [o, softmax];
}

/** @returns gradients of q, k and v; those of the prefix are added to what it has */
function tiledGradient(
  inputs: Record<ForwardInput | "stats" | "d_o", TensorInfo>,
  prefix: Prefix | null,
  shape: AttentionShape,
): TensorInfo[] {
  const { q, k, v } = inputs;
  const [dq, dk, dv] = [newTensor(q.shape), newTensor(k.shape), newTensor(v.shape)];
  const pass = { shape, rows: q.shape[0] };
  runAttentionGradQTiles({ ...inputs, ...prefixBindings(prefix), dq }, {
    ...pass,
    prefixRows: prefixRowsOf(prefix),
  });
  if (!prefix?.dk || !prefix.dv) {
    runAttentionGradKvTiles({ ...inputs, dk, dv }, { ...pass, prefixRows: null });
    return [dq, dk, dv];
  }
  const sums = { readers: prefix.readers, prefix_dk: prefix.dk, prefix_dv: prefix.dv };
  runAttentionGradKvTiles({ ...inputs, ...prefixBindings(prefix), ...sums, dk, dv }, {
    ...pass,
    prefixRows: prefixRowsOf(prefix),
  });
  return [dq, dk, dv];
}

type ForwardInput = "q" | "k" | "v" | "bounds";

const attentionOp = defineOp<ForwardInput, AttentionAttrs>({
  name: "GrpoAttention",
  forward({ q, k, v, bounds }, { prefix, ...shape }) {
    const [rows] = q.shape;
    if (runsInTiles(shape)) return tiled({ q, k, v, bounds }, prefix, shape);
    const seen = seenRanges(bounds, { prefix, ...shape });
    const [o, softmax] = [newTensor(q.shape), newTensor([rows, shape.heads, 2])];
    const ended = newEndedSplits(rows, prefix, shape);
    const made = { q, o, softmax, ended, sequences: bounds, prefixes: prefix?.ranges ?? bounds };
    if (prefix) {
      runAttention({ ...made, k: prefix.k, v: prefix.v, bounds: seen.before }, { rows, shape, prefix: true });
    }
    runAttention({ ...made, k, v, bounds: seen.own }, { rows, shape, afterPrefix: prefix !== null });
    disposeInfo(ended);
    seen.dispose();
    return [o, softmax];
  },
  saves: { inputs: ["q", "k", "v", "bounds"], outputs: [true, true] },
  gradient(dys, [q, k, v, bounds, o, softmax], attrs) {
    const [dq, dk, dv] = attentionGradOp({ q, k, v, bounds, o, softmax, dy: (dys as Tensor[])[0] }, attrs);
    return { q: () => dq, k: () => dk, v: () => dv };
  },
});

const attentionGradOp = defineOp<ForwardInput | "o" | "softmax" | "dy", AttentionAttrs>({
  name: "GrpoAttentionGrad",
  forward({ q, k, v, bounds, o, softmax, dy }, { prefix, ...shape }) {
    const [rows] = q.shape;
    const stats = gradStats(o, dy, softmax, shape.headDim);
    if (runsInTiles(shape)) {
      const made = tiledGradient({ q, k, v, bounds, stats, d_o: dy }, prefix, shape);
      disposeInfo(stats);
      return made;
    }
    const seen = seenRanges(bounds, { prefix, ...shape });
    const [dq, dk, dv] = [newTensor(q.shape), newTensor(k.shape), newTensor(v.shape)];
    const pulling = { q, stats, d_o: dy };
    if (prefix) {
      const shared = { ...pulling, k: prefix.k, v: prefix.v };
      runAttentionGradQ({ ...shared, bounds: seen.before, dq }, { rows, shape, prefix: true });
      if (prefix.dk && prefix.dv) {
        const sums = { bounds: prefix.readers, walk: seen.walk, dk: prefix.dk, dv: prefix.dv };
        const pass = { rows: prefix.k.shape[0], shape, prefix: true };
        runAttentionGradKv({ ...shared, ...sums }, pass);
      }
    }
    const own = { ...pulling, k, v, bounds: seen.own };
    runAttentionGradQ({ ...own, dq }, { rows, shape, afterPrefix: prefix !== null });
    runAttentionGradKv({ ...own, dk, dv }, { rows, shape });
    disposeInfo(stats);
    seen.dispose();
    return [dq, dk, dv];
  },
});

/** @throws RangeError when the parts of a prefix do not fit each other or the tokens */
function checkPrefix(prefix: Prefix, rows: number, shape: AttentionShape): void {
  const { k, v, ranges, readers, dk, dv } = prefix;
  checkAttentionShape(shape, { "prefix k": [k, shape.kvHeads], "prefix v": [v, shape.kvHeads] });
  const prefixRows = k.shape[0];
  const alike = [v, dk ?? k, dv ?? k].every(({ shape }) => `${shape}` === `${k.shape}`);
  if (!alike || readers.size !== 2 * prefixRows || ranges.size !== 2 * rows || !dk !== !dv) {
    throw new RangeError(
      `Cannot attend to a prefix of k [${k.shape}], v [${v.shape}], ranges [${ranges.shape}], readers ` +
        `[${readers.shape}], dk [${dk?.shape}] and dv [${dv?.shape}] from ${rows} rows: need v like k, readers ` +
        `[${prefixRows},2], ranges [${rows},2], and both of dk and dv like k, or neither`,
    );
  }
}

/**
 * o[i] = softmax_j(scale q[i].k[j]) v[j] over the prefix rows that i sees, then the tokens j of i's own sequence up to
 * i itself: of all these the last `window`, where the shape has one. A sequence's bits are the same whatever stands
 * beside it and wherever it stands, and o and dq the same as if its prefix stood before it, unshared.
 * @returns f32 [N, heads*headDim]
 * @throws RangeError when the widths do not fit the heads, or the rows or parts of a prefix each other, or softcap or
 *   window cannot be
 */
export function attention(inputs: AttentionInputs, shape: AttentionShape): Tensor {
  const { q, k, v, bounds, prefix = null } = inputs;
  checkAttentionShape(shape, { q: [q, shape.heads], k: [k, shape.kvHeads], v: [v, shape.kvHeads] });
  const [rows] = q.shape;
  if (k.shape[0] !== rows || v.shape[0] !== rows || bounds.size !== 2 * rows) {
    throw new RangeError(
      `Cannot attend: q [${q.shape}], k [${k.shape}], v [${v.shape}] and bounds [${bounds.shape}] need the same ` +
        "number of rows",
    );
  }
  if (prefix) checkPrefix(prefix, rows, shape);
  return attentionOp({ q, k, v, bounds }, { ...shape, prefix })[0];
}
