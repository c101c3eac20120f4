/** Causal softmax attention over packed sequences: memory linear in the tokens (arXiv:2205.14135). */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import {
  type Binding,
  disposeInfo,
  f32,
  foldGrid,
  hasSimd8,
  newTensor,
  runKernel,
  u32,
} from "../gpu/bridge.ts";
import { defineOp } from "../gpu/op.ts";

export interface AttentionShape {
  /** Query heads, a multiple of kvHeads: neighbouring heads/kvHeads of them share a key head. */
  heads: number;
  kvHeads: number;
  /** A multiple of 4, at most 128. */
  headDim: number;
  /** Factor of q.k, usually headDim^-0.5. */
  scale: number;
}

/** Rows of a workgroup. As wide as the narrowest SIMD unit in use (8), so that few masked keys are visited. */
const ROWS_PER_GROUP = 8;
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

/** Runs one of the kernels that give a lane to each row of a head. */
function runByRows(kernel: string, bindings: Binding[], headCount: number, shape: AttentionShape): void {
  const { heads, kvHeads, headDim, scale } = shape;
  const rows = bindings[0].tensor.shape[0];
  runKernel({
    ...(hasSimd8() ? { kernel: `${kernel}_simd8` } : { kernel, constants: { WG: ROWS_PER_GROUP } }),
    bindings,
    params: [u32(rows), u32(heads), u32(kvHeads), f32(scale), u32(headDim / 4)],
    workgroups: foldGrid(Math.ceil(rows / ROWS_PER_GROUP) * headCount),
  });
}

type ForwardInput = "q" | "k" | "v" | "bounds";

const attentionOp = defineOp<ForwardInput, AttentionShape>({
  name: "GrpoAttention",
  forward({ q, k, v, bounds }, shape) {
    const rows = q.shape[0];
    const o = newTensor(q.shape);
    const lse = newTensor([rows, shape.heads]);
    const inputs = [{ tensor: q }, { tensor: k }, { tensor: v }, { tensor: bounds }];
    const outputs = [{ tensor: o, written: true }, { tensor: lse, written: true }];
    runByRows("attention", [...inputs, ...outputs], shape.heads, shape);
    return [o, lse];
  },
  saves: { inputs: ["q", "k", "v", "bounds"], outputs: [true, true] },
  gradient(dys, [q, k, v, bounds, o, lse], shape) {
    const [dq, dk, dv] = attentionGradOp({ q, k, v, bounds, o, lse, dy: (dys as Tensor[])[0] }, shape);
    return { q: () => dq, k: () => dk, v: () => dv };
  },
});

const attentionGradOp = defineOp<ForwardInput | "o" | "lse" | "dy", AttentionShape>({
  name: "GrpoAttentionGrad",
  forward({ q, k, v, bounds, o, lse, dy }, shape) {
    const stats = gradStats(o, dy, lse, shape.headDim);
    const [dq, dk, dv] = [newTensor(q.shape), newTensor(k.shape), newTensor(v.shape)];
    const inputs = [q, k, v, bounds, stats, dy].map((tensor) => ({ tensor }));
    runByRows("attention_grad_q", [...inputs, { tensor: dq, written: true }], shape.heads, shape);
    const outputs = [{ tensor: dk, written: true }, { tensor: dv, written: true }];
    runByRows("attention_grad_kv", [...inputs, ...outputs], shape.kvHeads, shape);
    disposeInfo(stats);
    return [dq, dk, dv];
  },
});

/** @returns f32 [N, heads, 2]: the log of each softmax's sum, and do.o. The caller disposes it. */
function gradStats(o: TensorInfo, dy: TensorInfo, lse: TensorInfo, headDim: number): TensorInfo {
  const stats = newTensor([...lse.shape, 2]);
  const count = lse.shape[0] * lse.shape[1];
  runKernel({
    kernel: "attention_grad_stats",
    constants: { WG: STATS_WG },
    bindings: [{ tensor: o }, { tensor: dy }, { tensor: lse }, { tensor: stats, written: true }],
    params: [u32(count), u32(headDim / 4)],
    workgroups: foldGrid(Math.ceil(count / STATS_WG)),
  });
  return stats;
}

/**
 * o[i] = softmax_j(scale q[i].k[j]) v[j] over the tokens j of i's own sequence up to i itself.
 * A sequence's bits are the same whatever stands beside it and wherever it stands.
 * @param q f32 [N, heads*headDim]
 * @param k f32 [N, kvHeads*headDim]; `v` alike
 * @param bounds i32 [N,2]: half-open row range of each token's sequence; sequences lie end to end, in order
 * @returns f32 [N, heads*headDim]
 * @throws RangeError when the widths do not fit the heads
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, shape: AttentionShape): Tensor {
  checkAttentionShape(shape, { q: [q, shape.heads], k: [k, shape.kvHeads], v: [v, shape.kvHeads] });
  const [rows] = q.shape;
  if (k.shape[0] !== rows || v.shape[0] !== rows || bounds.size !== 2 * rows) {
    throw new RangeError(
      `Cannot attend: q [${q.shape}], k [${k.shape}], v [${v.shape}] and bounds [${bounds.shape}] need the same number of rows`,
    );
  }
  const { heads, kvHeads, headDim, scale } = shape;
  return attentionOp({ q, k, v, bounds }, { heads, kvHeads, headDim, scale })[0];
}

/** The operands of the twins, row-major. */
export interface AttentionArrays {
  q: ArrayLike<number>;
  k: ArrayLike<number>;
  v: ArrayLike<number>;
  bounds: ArrayLike<number>;
}

function dotF64(
  a: ArrayLike<number>,
  aBase: number,
  b: ArrayLike<number>,
  bBase: number,
  count: number,
): number {
  let sum = 0;
  for (let c = 0; c < count; c++) sum += a[aBase + c] * b[bBase + c];
  return sum;
}

/** Calls `visit` for each (row, head) with the offsets of its query and visible keys, and their softmax. */
function forEachSoftmax(
  { q, k, bounds }: AttentionArrays,
  { heads, kvHeads, headDim, scale }: AttentionShape,
  visit: (qBase: number, keyBases: number[], p: number[]) => void,
): void {
  for (let slot = 0; slot < q.length / headDim; slot++) {
    const row = Math.floor(slot / heads);
    const kvHead = Math.floor((slot % heads) / (heads / kvHeads));
    const keyBases = Array.from(
      { length: row + 1 - bounds[2 * row] },
      (_, n) => ((bounds[2 * row] + n) * kvHeads + kvHead) * headDim,
    );
    const scores = keyBases.map((base) => scale * dotF64(q, slot * headDim, k, base, headDim));
    const most = scores.reduce((a, b) => Math.max(a, b));
    const exps = scores.map((score) => Math.exp(score - most));
    const total = exps.reduce((a, b) => a + b);
    visit(slot * headDim, keyBases, exps.map((value) => value / total));
  }
}

/** Twin of attention.wgsl in f64. @returns o [N, heads*headDim] */
export function attentionF64(arrays: AttentionArrays, shape: AttentionShape): Float64Array {
  const o = new Float64Array(arrays.q.length);
  forEachSoftmax(arrays, shape, (qBase, keyBases, p) => {
    keyBases.forEach((base, n) => {
      for (let c = 0; c < shape.headDim; c++) o[qBase + c] += p[n] * arrays.v[base + c];
    });
  });
  return o;
}

/** Twin of attention_grad_stats, _q and _kv.wgsl in f64. @returns gradients of q, k and v in their shapes */
export function attentionGradF64(arrays: AttentionArrays, dy: ArrayLike<number>, shape: AttentionShape) {
  const { q, k, v } = arrays;
  const { headDim, scale } = shape;
  const [dq, dk, dv] = [q, k, v].map(({ length }) => new Float64Array(length));
  forEachSoftmax(arrays, shape, (qBase, keyBases, p) => {
    const pulls = keyBases.map((base) => dotF64(dy, qBase, v, base, headDim));
    const delta = p.reduce((sum, weight, n) => sum + weight * pulls[n], 0);
    keyBases.forEach((base, n) => {
      const ds = scale * p[n] * (pulls[n] - delta);
      for (let c = 0; c < headDim; c++) {
        dq[qBase + c] += ds * k[base + c];
        dk[base + c] += ds * q[qBase + c];
        dv[base + c] += p[n] * dy[qBase + c];
      }
    });
  });
  return { q: dq, k: dk, v: dv };
}
