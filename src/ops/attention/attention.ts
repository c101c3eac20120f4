/** Causal softmax attention over packed sequences: memory linear in the tokens (arXiv:2205.14135). */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { hasSimd8 } from "../../gpu/device_facts.ts";
import { f32, runKernel, u32 } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { type Binding, disposeInfo, newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";

export interface AttentionShape {
  /** Query heads, a multiple of kvHeads: neighbouring heads/kvHeads of them share a key head. */
  heads: number;
  kvHeads: number;
  /** A multiple of 4, at most 128. */
  headDim: number;
  /** Factor of q.k, usually headDim^-0.5. */
  scale: number;
}

/** Lanes of a workgroup, and (row, head) pairs or rows of a lane: the plain kernels. */
const WG = 32;
const TILE = 4;
/** Rows of a workgroup, and pairs or rows of one where heads are narrow: the kernels for 8-wide subgroups. */
const SIMD8_ROWS = 8;
const NARROW_PAIRS = 16;
const NARROW_HEAD_DIM = 16;
/** What runs instead of a kernel where subgroups are 8 wide and heads narrow. */
const NARROW_KERNELS = {
  attention: "attention_narrow",
  attention_grad_q: "attention_grad_q_narrow",
  attention_grad_kv: "attention_grad_kv_narrow",
};
const STATS_WG = 64;
const MAX_HEAD_DIM = 128;

/** @throws RangeError when a tensor [rows, columns] is not as wide as its heads */
export function checkAttentionShape(shape: AttentionShape, widths: Record<string, [Tensor, number]>): void {
  const { heads, kvHeads, headDim } = shape;
  if (headDim % 4 || headDim < 4 || headDim > MAX_HEAD_DIM || heads % kvHeads) {
    throw new RangeError(
      `Cannot attend with headDim ${headDim}, ${heads} heads and ${kvHeads} key heads: need headDim a multiple of 4 up ` +
        `to ${MAX_HEAD_DIM}, and heads a multiple of key heads`,
    );
  }
  for (const [name, [tensor, headCount]] of Object.entries(widths)) {
    const width = tensor.shape[tensor.shape.length - 1];
    if (width !== headCount * headDim) {
      throw new RangeError(
        `Cannot attend to ${name} of shape [${tensor.shape}]: need ${headCount} heads of ${headDim} = ${
          headCount * headDim
        } columns`,
      );
    }
  }
}

/** Keys and values of P rows that several sequences see before their own: of a prompt, computed once for its completions. */
export interface PrefixKeys {
  /** f32 [P, kvHeads*headDim], rotated */
  k: Tensor;
  /** f32 [P, kvHeads*headDim] */
  v: Tensor;
  /**
   * Gradient accumulators in the shape of k and v; null: not wanted. Backward adds into them, queries in order, starting
   * from what they hold: passes over parts of the readers, one after the other, give the same bits as one pass.
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

interface AttentionAttrs extends AttentionShape {
  prefix: Prefix | null;
}

/** What a kernel goes over: rows of query heads (attention, _grad_q) or of key heads (_grad_kv). */
interface Grid {
  rows: number;
  headCount: number;
}

/** The variant of a kernel for a device, its constants and its number of workgroups. All give the same bits. */
function chooseKernel(
  kernel: keyof typeof NARROW_KERNELS,
  { rows, headCount }: Grid,
  { kvHeads, headDim }: AttentionShape,
): { kernel: string; constants: Record<string, number>; groups: number } {
  const perKeyHead = rows * headCount / kvHeads;
  if (!hasSimd8()) {
    return { kernel, constants: { WG }, groups: Math.ceil(Math.ceil(perKeyHead / TILE) * kvHeads / WG) };
  }
  if (headDim > NARROW_HEAD_DIM) {
    return { kernel: `${kernel}_simd8`, constants: {}, groups: Math.ceil(rows / SIMD8_ROWS) * headCount };
  }
  return {
    kernel: `${NARROW_KERNELS[kernel]}_simd8`,
    constants: { VECTORS: headDim / 4 },
    groups: Math.ceil(perKeyHead / NARROW_PAIRS) * kvHeads,
  };
}

function runByRows(
  name: keyof typeof NARROW_KERNELS,
  { prefix = false, afterPrefix = false }: { prefix?: boolean; afterPrefix?: boolean },
  bindings: Binding[],
  grid: Grid,
  shape: AttentionShape,
): void {
  const { heads, kvHeads, headDim, scale } = shape;
  const { kernel, constants, groups } = chooseKernel(name, grid, shape);
  runKernel({
    kernel,
    constants,
    bindings,
    params: [
      u32(grid.rows),
      u32(heads),
      u32(kvHeads),
      f32(scale),
      u32(headDim / 4),
      u32(+prefix),
      u32(+afterPrefix),
    ],
    workgroups: foldGrid(groups),
  });
}

const reads = (tensors: TensorInfo[]): Binding[] => tensors.map((tensor) => ({ tensor }));
const writes = (tensors: TensorInfo[]): Binding[] => tensors.map((tensor) => ({ tensor, written: true }));

type ForwardInput = "q" | "k" | "v" | "bounds";

const attentionOp = defineOp<ForwardInput, AttentionAttrs>({
  name: "GrpoAttention",
  forward({ q, k, v, bounds }, { prefix, ...shape }) {
    const grid = { rows: q.shape[0], headCount: shape.heads };
    const made = [newTensor(q.shape), newTensor([grid.rows, shape.heads, 2])];
    if (prefix) {
      const inputs = reads([q, prefix.k, prefix.v, prefix.ranges]);
      runByRows("attention", { prefix: true }, [...inputs, ...writes(made)], grid, shape);
    }
    const pass = { afterPrefix: prefix !== null };
    runByRows("attention", pass, [...reads([q, k, v, bounds]), ...writes(made)], grid, shape);
    return made;
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
    const stats = gradStats(o, dy, softmax, shape.headDim);
    const queries = { rows: q.shape[0], headCount: shape.heads };
    const keys = (rows: number) => ({ rows, headCount: shape.kvHeads });
    const [dq, dk, dv] = [newTensor(q.shape), newTensor(k.shape), newTensor(v.shape)];
    const own = reads([q, k, v, bounds, stats, dy]);
    if (prefix) {
      const shared = (rowRanges: Tensor) => reads([q, prefix.k, prefix.v, rowRanges, stats, dy]);
      const before = [...shared(prefix.ranges), ...writes([dq])];
      runByRows("attention_grad_q", { prefix: true }, before, queries, shape);
      if (prefix.dk && prefix.dv) {
        const sums = [...shared(prefix.readers), ...writes([prefix.dk, prefix.dv])];
        runByRows("attention_grad_kv", { prefix: true }, sums, keys(prefix.k.shape[0]), shape);
      }
    }
    const pass = { afterPrefix: prefix !== null };
    runByRows("attention_grad_q", pass, [...own, ...writes([dq])], queries, shape);
    runByRows("attention_grad_kv", {}, [...own, ...writes([dk, dv])], keys(queries.rows), shape);
    disposeInfo(stats);
    return [dq, dk, dv];
  },
});

/** @returns f32 [N, heads, 2]: the log of each softmax's sum, and do.o. The caller disposes it. */
function gradStats(o: TensorInfo, dy: TensorInfo, softmax: TensorInfo, headDim: number): TensorInfo {
  const stats = newTensor(softmax.shape);
  const count = softmax.shape[0] * softmax.shape[1];
  runKernel({
    kernel: "attention_grad_stats",
    constants: { WG: STATS_WG },
    bindings: [...reads([o, dy, softmax]), ...writes([stats])],
    params: [u32(count), u32(headDim / 4)],
    workgroups: foldGrid(Math.ceil(count / STATS_WG)),
  });
  return stats;
}

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
 * o[i] = softmax_j(scale q[i].k[j]) v[j] over the prefix rows that i sees, then the tokens j of i's own sequence up to i
 * itself. A sequence's bits are the same whatever stands beside it and wherever it stands, and o and dq the same as if its
 * prefix stood before it, unshared.
 * @param q f32 [N, heads*headDim]
 * @param k f32 [N, kvHeads*headDim]; `v` alike
 * @param bounds i32 [N,2]: half-open row range of each token's sequence; sequences lie end to end, in order
 * @returns f32 [N, heads*headDim]
 * @throws RangeError when the widths do not fit the heads
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  bounds: Tensor,
  shape: AttentionShape,
  prefix: Prefix | null = null,
): Tensor {
  checkAttentionShape(shape, { q: [q, shape.heads], k: [k, shape.kvHeads], v: [v, shape.kvHeads] });
  const [rows] = q.shape;
  if (k.shape[0] !== rows || v.shape[0] !== rows || bounds.size !== 2 * rows) {
    throw new RangeError(
      `Cannot attend: q [${q.shape}], k [${k.shape}], v [${v.shape}] and bounds [${bounds.shape}] need the same number of rows`,
    );
  }
  if (prefix) checkPrefix(prefix, rows, shape);
  const { heads, kvHeads, headDim, scale } = shape;
  return attentionOp({ q, k, v, bounds }, { heads, kvHeads, headDim, scale, prefix })[0];
}
