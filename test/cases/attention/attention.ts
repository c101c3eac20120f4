import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { attention, type AttentionShape } from "../../../src/ops/attention/attention.ts";
import {
  type AttentionArrays,
  attentionF64,
  attentionGradF64,
} from "../../../src/ops/attention/attention_f64.ts";
import { type OpCase, uniform, uniformWeight } from "../case.ts";

export interface PackedShape extends CaseHeads {
  /** Tokens of each sequence. */
  lengths: number[];
  /** Rows at the end that belong to no sequence. */
  spare?: number;
  benchOnly?: boolean;
}

/** The scale is headDim^-0.5 where none is given. */
type CaseHeads = Omit<AttentionShape, "scale"> & { scale?: number };

/** What a case's name says of an attention shape that is not plain. */
export const shapeText = ({ scale, softcap, window }: Partial<AttentionShape>) =>
  [scale && ` scale ${scale}`, softcap && ` softcap ${softcap}`, window && ` window ${window}`]
    .map((text) => text ?? "").join("");

/** bounds [N,2] of sequences that lie end to end, then spare rows. */
export function packedBounds(lengths: number[], spare = 0): Int32Array {
  const bounds: number[] = [];
  let start = 0;
  for (const length of [...lengths, ...new Array<number>(spare).fill(1)]) {
    for (let n = 0; n < length; n++) bounds.push(start, start + length);
    start += length;
  }
  return Int32Array.from(bounds);
}

/** Sequences of one length, batched, with the mask added to a [.., T, T] matrix of scores. */
function plainAttention(
  { heads, kvHeads, headDim, lengths }: PackedShape,
  { q, k, v }: Record<string, Tensor>,
): Tensor {
  const tokens = lengths[0];
  const split = (x: Tensor, count: number) =>
    tf.transpose(tf.reshape(x, [lengths.length, tokens, count, headDim]), [0, 2, 1, 3]);
  // Rank 4: from 5 on tfjs tiles on the CPU, after a synchronous read that WebGPU cannot do.
  const widen = (x: Tensor) =>
    tf.reshape(
      tf.tile(tf.reshape(split(x, kvHeads), [lengths.length, kvHeads, 1, tokens * headDim]), [
        1,
        1,
        heads / kvHeads,
        1,
      ]),
      [lengths.length, heads, tokens, headDim],
    );
  const mask = tf.mul(tf.sub(tf.linalg.bandPart(tf.ones([tokens, tokens]), -1, 0), 1), 1e9);
  const scores = tf.add(tf.mul(tf.matMul(split(q, heads), widen(k), false, true), headDim ** -0.5), mask);
  const mixed = tf.matMul(tf.softmax(scores), widen(v));
  return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), q.shape);
}

/** Of something of each token of sequences, by its place in its own. */
const sumOverTokens = (lengths: number[], of: (place: number) => number) =>
  lengths.flatMap((n) => Array.from({ length: n }, (_, t) => of(t))).reduce((a, b) => a + b, 0);

export function attentionCase(shape: PackedShape): OpCase {
  const { lengths, spare, benchOnly, ...rest } = shape;
  const { heads, kvHeads, headDim } = shape;
  const attentionShape: AttentionShape = { scale: headDim ** -0.5, ...rest };
  const bounds = packedBounds(lengths, spare);
  const rows = bounds.length / 2;
  const arraysOf = (arrays: Record<string, ArrayLike<number>>) => arrays as unknown as AttentionArrays;
  const { window = Infinity } = shape;
  const pairs = sumOverTokens(lengths, (t) => Math.min(t + 1, window));
  const lengthsText = lengths.length > 8 ? `${lengths.length} of ${lengths[0]}` : lengths.join("+");
  return {
    name: `attention [${lengthsText}${
      spare ? ` spare ${spare}` : ""
    }] ${heads}/${kvHeads} heads of ${headDim}${shapeText(shape)}`,
    inputs: {
      q: uniform(1, [rows, heads * headDim], 2),
      k: uniform(2, [rows, kvHeads * headDim], 2),
      v: uniform(3, [rows, kvHeads * headDim], 2),
      bounds: { shape: [rows, 2], values: bounds },
    },
    run: ({ tensors: { q, k, v, bounds } }) => [attention({ q, k, v, bounds }, attentionShape)],
    twin: (arrays) => [attentionF64(arraysOf(arrays), attentionShape)],
    gradient: {
      wrt: ["q", "k", "v"],
      twin: (arrays, dy) => attentionGradF64(arraysOf(arrays), dy, attentionShape),
    },
    tolerance: 2e-5,
    toleranceReason: "f32 sums over up to 100 keys of exponentials of f32 dot products of up to 128 terms",
    benchOnly,
    bench: {
      flops: 4 * pairs * heads * headDim,
      bytes: 2 * rows * (heads + kvHeads) * headDim * 4,
      plainTfjs: benchOnly && !shape.window && !shape.softcap
        ? ({ tensors }) => [plainAttention(shape, tensors)]
        : undefined,
    },
  };
}

export interface SharedShape extends CaseHeads {
  /** Tokens of each prompt: the prefix rows, end to end. */
  prompts: number[];
  /** For each prompt in order, the own tokens of each of its completions. */
  completions: number[][];
  spare?: number;
  benchOnly?: boolean;
}

/** ranges [N,2] and readers [P,2] of completions that lie in the order of their prompts, then spare rows. */
export function prefixRanges(prompts: number[], completions: number[][], spare = 0) {
  const ranges: number[] = [];
  const readers: number[] = [];
  let first = 0;
  prompts.forEach((tokens, prompt) => {
    const begin = ranges.length / 2;
    const rows = completions[prompt].reduce((a, b) => a + b, 0);
    for (let n = 0; n < rows; n++) ranges.push(first, first + tokens);
    for (let n = 0; n < tokens; n++) readers.push(begin, begin + rows);
    first += tokens;
  });
  for (let n = 0; n < spare; n++) ranges.push(0, 0);
  return { ranges: Int32Array.from(ranges), readers: Int32Array.from(readers) };
}

export function sharedCase({ prompts, completions, spare, benchOnly, ...heads }: SharedShape): OpCase {
  const shape: AttentionShape = { scale: heads.headDim ** -0.5, ...heads };
  const own = attentionCase({ ...heads, lengths: completions.flat(), spare });
  const { ranges, readers } = prefixRanges(prompts, completions, spare);
  const rows = ranges.length / 2;
  const prefixRows = readers.length / 2;
  const prefixShape = [prefixRows, heads.kvHeads * heads.headDim];
  const arraysOf = ({ prefixK, prefixV, ...arrays }: Record<string, ArrayLike<number>>) =>
    ({ ...arrays, prefix: { k: prefixK, v: prefixV, ranges: arrays.ranges } }) as unknown as AttentionArrays;
  const { window = Infinity } = heads;
  const pairs = completions
    .map((own, p) => sumOverTokens(own, (t) => Math.min(prompts[p], Math.max(0, window - 1 - t))))
    .reduce((a, b) => a + b, 0);
  return {
    ...own,
    name: `${own.name} after prompts of ${
      prompts.length > 8 ? `${prompts.length} x ${prompts[0]}` : prompts.join("+")
    }`,
    inputs: {
      ...own.inputs,
      prefixK: uniformWeight(4, prefixShape, "f32", 2),
      prefixV: uniformWeight(5, prefixShape, "f32", 2),
      ranges: { shape: [rows, 2], values: ranges },
      readers: { shape: [prefixRows, 2], values: readers },
    },
    run: ({ tensors: { q, k, v, bounds, ranges, readers }, weights: { prefixK, prefixV } }) => {
      const prefix = {
        k: prefixK.tensor,
        v: prefixV.tensor,
        ranges,
        readers,
        dk: prefixK.grad,
        dv: prefixV.grad,
      };
      return [attention({ q, k, v, bounds, prefix }, shape)];
    },
    twin: (arrays) => [attentionF64(arraysOf(arrays), shape)],
    gradient: {
      wrt: ["q", "k", "v", "prefixK", "prefixV"],
      twin: (arrays, dy) => attentionGradF64(arraysOf(arrays), dy, shape),
    },
    benchOnly,
    bench: {
      flops: own.bench!.flops! + 4 * pairs * heads.heads * heads.headDim,
      bytes: own.bench!.bytes! + 2 * prefixRows * heads.kvHeads * heads.headDim * 4,
    },
  };
}

export const cases: OpCase[] = [
  attentionCase({ lengths: [1], heads: 1, kvHeads: 1, headDim: 4 }),
  attentionCase({ lengths: [5, 1, 17, 9], spare: 3, heads: 4, kvHeads: 4, headDim: 16 }),
  attentionCase({ lengths: [3, 30, 12], heads: 6, kvHeads: 2, headDim: 12 }),
  attentionCase({ lengths: [11, 8], spare: 5, heads: 3, kvHeads: 1, headDim: 80 }),
  attentionCase({ lengths: [100], heads: 2, kvHeads: 1, headDim: 32 }),
  attentionCase({ lengths: [2, 9], heads: 2, kvHeads: 2, headDim: 128 }),
  attentionCase({ lengths: [30, 1, 39], heads: 5, kvHeads: 5, headDim: 8 }),
  // Tiles of four rows that fill a workgroup of the plain kernel, and one more.
  attentionCase({ lengths: [41], heads: 3, kvHeads: 3, headDim: 4 }),
  sharedCase({ prompts: [1], completions: [[1]], heads: 1, kvHeads: 1, headDim: 4 }),
  sharedCase({
    prompts: [13, 0, 6, 9],
    completions: [[5, 1, 17], [4, 9], [3], []],
    spare: 3,
    heads: 4,
    kvHeads: 2,
    headDim: 16,
  }),
  sharedCase({ prompts: [33, 20], completions: [[11, 8], [26]], heads: 3, kvHeads: 1, headDim: 80 }),
  // Gemma's heads, its cap, and windows of one token, two, a subgroup's keys, one that begins in the prefix.
  attentionCase({ lengths: [3, 19], heads: 4, kvHeads: 1, headDim: 256, scale: 0.3, softcap: 3, window: 11 }),
  attentionCase({ lengths: [5, 1, 17, 9], spare: 3, heads: 4, kvHeads: 4, headDim: 16, window: 1 }),
  attentionCase({ lengths: [3, 30, 12], heads: 6, kvHeads: 2, headDim: 12, window: 2, softcap: 0.5 }),
  // Of all rows but one.
  attentionCase({ lengths: [9], heads: 2, kvHeads: 1, headDim: 4, window: 8 }),
  attentionCase({ lengths: [50], heads: 2, kvHeads: 1, headDim: 32, window: 8, scale: 0.5 }),
  attentionCase({ lengths: [11, 8], spare: 5, heads: 3, kvHeads: 1, headDim: 80, window: 100, softcap: 1 }),
  sharedCase({
    prompts: [13, 0, 6, 9, 2],
    completions: [[5, 1, 17], [4, 9], [3], [], [8]],
    spare: 3,
    heads: 4,
    kvHeads: 2,
    headDim: 16,
    window: 7,
    softcap: 2,
  }),
  sharedCase({
    prompts: [33, 20],
    completions: [[11, 8], [26, 30]],
    heads: 3,
    kvHeads: 1,
    headDim: 80,
    window: 16,
    softcap: 50,
  }),
  sharedCase({ prompts: [9], completions: [[3, 12]], heads: 2, kvHeads: 2, headDim: 20, window: 1 }),
  sharedCase({ prompts: [9, 4], completions: [[3, 12], [9]], heads: 3, kvHeads: 1, headDim: 132, window: 2 }),
  sharedCase({
    prompts: [40, 30],
    completions: [[30, 1], [39]],
    heads: 5,
    kvHeads: 5,
    headDim: 8,
    window: 9,
    softcap: 2,
  }),
  attentionCase({ lengths: new Array(64).fill(32), heads: 4, kvHeads: 4, headDim: 16, benchOnly: true }),
  attentionCase({ lengths: new Array(64).fill(32), heads: 4, kvHeads: 2, headDim: 32, benchOnly: true }),
  attentionCase({ lengths: [1024], heads: 8, kvHeads: 8, headDim: 64, benchOnly: true }),
  attentionCase({ lengths: [1024], heads: 8, kvHeads: 8, headDim: 64, window: 128, benchOnly: true }),
  attentionCase({ lengths: [1024], heads: 8, kvHeads: 8, headDim: 64, softcap: 50, benchOnly: true }),
  sharedCase({
    prompts: new Array(8).fill(24),
    completions: new Array(8).fill(new Array(8).fill(12)),
    heads: 4,
    kvHeads: 2,
    headDim: 16,
    benchOnly: true,
  }),
];
