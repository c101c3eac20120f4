/** Twins of the attention kernels: softmax attention over packed sequences, written plainly in f64. */
import type { AttentionShape } from "./attention_shape.ts";

/** The operands of the twins, row-major. */
export interface AttentionArrays {
  q: ArrayLike<number>;
  k: ArrayLike<number>;
  v: ArrayLike<number>;
  bounds: ArrayLike<number>;
  prefix?: { k: ArrayLike<number>; v: ArrayLike<number>; ranges: ArrayLike<number> };
}

function joined(first: ArrayLike<number>, second: ArrayLike<number> = []): Float64Array {
  const all = new Float64Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
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

/** Rows of the keys that `row` sees, in order; prefix rows are counted after the `ownRows` of the batch. */
function visibleRows(
  { bounds, prefix }: AttentionArrays,
  row: number,
  ownRows: number,
  window = Infinity,
): number[] {
  const range = (begin: number, end: number) =>
    Array.from({ length: Math.max(0, end - begin) }, (_, n) => begin + n);
  const before = prefix ? range(prefix.ranges[2 * row], prefix.ranges[2 * row + 1]) : [];
  const seen = [...before.map((shared) => ownRows + shared), ...range(bounds[2 * row], row + 1)];
  return seen.slice(Math.max(0, seen.length - window));
}

/** softcap tanh(score / softcap), and its derivative. */
export function cappedF64(score: number, softcap?: number): { score: number; slope: number } {
  if (softcap === undefined) return { score, slope: 1 };
  const t = Math.tanh(score / softcap);
  return { score: softcap * t, slope: 1 - t * t };
}

/**
 * Calls `visit` for each (row, head) with the offsets of its query and visible keys, their softmax, and the slope of
 * the cap on each score.
 * @param k the batch's own keys, then those of the prefix
 */
function forEachSoftmax(
  arrays: AttentionArrays,
  k: Float64Array,
  { heads, kvHeads, headDim, scale, softcap, window }: AttentionShape,
  visit: (qBase: number, keyBases: number[], p: number[], slopes: number[]) => void,
): void {
  const { q } = arrays;
  for (let slot = 0; slot < q.length / headDim; slot++) {
    const row = Math.floor(slot / heads);
    const kvHead = Math.floor((slot % heads) / (heads / kvHeads));
    const keyBases = visibleRows(arrays, row, q.length / headDim / heads, window).map((key) =>
      (key * kvHeads + kvHead) * headDim
    );
    const capped = keyBases.map((base) =>
      cappedF64(scale * dotF64(q, slot * headDim, k, base, headDim), softcap)
    );
    const scores = capped.map(({ score }) => score);
    const most = scores.reduce((a, b) => Math.max(a, b));
    const exps = scores.map((score) => Math.exp(score - most));
    const total = exps.reduce((a, b) => a + b);
    visit(slot * headDim, keyBases, exps.map((value) => value / total), capped.map(({ slope }) => slope));
  }
}

/** Twin of attention.wgsl in f64. @returns o [N, heads*headDim] */
export function attentionF64(arrays: AttentionArrays, shape: AttentionShape): Float64Array {
  const o = new Float64Array(arrays.q.length);
  const v = joined(arrays.v, arrays.prefix?.v);
  forEachSoftmax(arrays, joined(arrays.k, arrays.prefix?.k), shape, (qBase, keyBases, p) => {
    keyBases.forEach((base, n) => {
      for (let c = 0; c < shape.headDim; c++) o[qBase + c] += p[n] * v[base + c];
    });
  });
  return o;
}

/**
 * Twin of attention_grad_stats, _q and _kv.wgsl in f64.
 * @returns gradients of q, k, v and of the prefix in their shapes
 */
export function attentionGradF64(arrays: AttentionArrays, dy: ArrayLike<number>, shape: AttentionShape) {
  const { q } = arrays;
  const k = joined(arrays.k, arrays.prefix?.k);
  const v = joined(arrays.v, arrays.prefix?.v);
  const { headDim, scale } = shape;
  const [dq, dk, dv] = [q, k, v].map(({ length }) => new Float64Array(length));
  forEachSoftmax(arrays, k, shape, (qBase, keyBases, p, slopes) => {
    const pulls = keyBases.map((base) => dotF64(dy, qBase, v, base, headDim));
    const delta = p.reduce((sum, weight, n) => sum + weight * pulls[n], 0);
    keyBases.forEach((base, n) => {
      const ds = scale * slopes[n] * p[n] * (pulls[n] - delta);
      for (let c = 0; c < headDim; c++) {
        dq[qBase + c] += ds * k[base + c];
        dk[base + c] += ds * q[qBase + c];
        dv[base + c] += p[n] * dy[qBase + c];
      }
    });
  });
  const own = arrays.k.length;
  return {
    q: dq,
    k: dk.subarray(0, own),
    v: dv.subarray(0, own),
    prefixK: dk.subarray(own),
    prefixV: dv.subarray(own),
  };
}
