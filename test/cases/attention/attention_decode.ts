import { shapeText } from "./attention.ts";
import type { AttentionShape } from "../../../src/ops/attention/attention.ts";
import {
  attentionDecode,
  attentionDecodeF64,
  decodeVariant,
} from "../../../src/ops/attention/attention_decode.ts";
import type { WeightFormat } from "../../../src/ops/weight/weight.ts";
import { type CaseInput, type OpCase, randomFloats, uniform, uniformWeight } from "../case.ts";

interface DecodeShape extends Omit<AttentionShape, "scale"> {
  /** headDim^-0.5 where it is left out. */
  scale?: number;
  /** Tokens of each prompt; an empty prompt is allowed. */
  prompts: number[];
  /** Completions of each prompt. */
  group: number;
  /** Tokens of each completion's own, the new one among them. */
  own: number;
  blockShift?: number;
  format?: WeightFormat;
  /** Rows that hold nothing any more. */
  retired?: number[];
  /** Lanes as on a GPU, whatever the device is. */
  gpuLanes?: boolean;
  /** Every score is about -100. */
  negative?: boolean;
  benchOnly?: boolean;
}

/** A prompt's blocks, filled up to their end, then the completion's own; numbered so that neighbours lie apart. */
function blockTable({ prompts, group, own, blockShift = 4, retired = [] }: DecodeShape) {
  const blockTokens = 2 ** blockShift;
  const blocksOf = (tokens: number) => Math.ceil(tokens / blockTokens);
  const longest = blocksOf(Math.max(...prompts)) + blocksOf(own);
  const all = prompts.reduce((sum, tokens) => sum + blocksOf(tokens), 0) +
    prompts.length * group * blocksOf(own);
  let taken = 0;
  // 7 shares no factor with most counts; where it does, take blocks in their order.
  const take = (count: number) => Array.from({ length: count }, () => all % 7 ? 7 * taken++ % all : taken++);
  const table = prompts.flatMap((tokens) => {
    const shared = take(blocksOf(tokens));
    return Array.from({ length: group }, () => {
      const row = [shared.length * blockTokens - tokens, ...shared, ...take(blocksOf(own))];
      return [...row, ...new Array(1 + longest - row.length).fill(-1)];
    });
  });
  for (const r of retired) table[r].fill(-1);
  return { table, blocks: all };
}

/** Of the sign of `scale` throughout. */
function oneSided(seed: number, shape: number[], scale: number): CaseInput {
  const count = shape.reduce((a, b) => a * b, 1);
  return { shape, values: randomFloats(seed, count, scale).map((x) => Math.sign(scale) * Math.abs(x)) };
}

function decodeCase(shape: DecodeShape): OpCase {
  const {
    prompts,
    group,
    own,
    blockShift = 4,
    format = "f32",
    heads,
    kvHeads,
    headDim,
    scale = headDim ** -0.5,
    softcap,
    window,
    gpuLanes,
    negative,
    benchOnly,
  } = shape;
  const attentionShape: AttentionShape = { heads, kvHeads, headDim, scale, softcap, window };
  const variant = () => gpuLanes ? decodeVariant(attentionShape, false) : undefined;
  const rows = prompts.length * group;
  const { table, blocks } = blockTable(shape);
  const poolShape = [blocks, 2 ** blockShift, kvHeads * headDim];
  const pool = (seed: number) =>
    format === "f32" ? uniform(seed, poolShape, 2) : uniformWeight(seed, poolShape, format, 2);
  const positions = Int32Array.from({ length: rows }, (_, r) => prompts[Math.floor(r / group)] + own - 1);
  const seen = positions.reduce((sum, position) => sum + Math.min(position + 1, window ?? Infinity), 0);
  const ownSeen = Math.min(own, window ?? Infinity);
  const promptSeen = prompts.map((tokens) => Math.min(tokens, (window ?? Infinity) - ownSeen));
  const kept = promptSeen.reduce((a, b) => a + b, 0) + rows * ownSeen;
  return {
    name: `attention_decode prompts ${prompts.length} of ${prompts[0]}, group ${group}, ${own} own tokens, ` +
      `${heads}/${kvHeads} heads of ${headDim}${shapeText(shape)}, blocks of ${2 ** blockShift}, ${format}${
        gpuLanes ? ", lanes as on a GPU" : ""
      }${negative ? ", scores about -100" : ""}`,
    inputs: {
      q: negative ? oneSided(1, [rows, heads * headDim], 10) : uniform(1, [rows, heads * headDim], 2),
      k: negative ? oneSided(2, poolShape, -10) : pool(2),
      v: pool(3),
      table: { shape: [rows, table[0].length], values: Int32Array.from(table.flat()) },
      positions: { shape: [rows], values: positions },
    },
    run: ({ tensors: { q, table, positions, ...pools }, weights }) => {
      const { k, v } = format === "f32" ? pools : { k: weights.k.tensor, v: weights.v.tensor };
      return [
        attentionDecode(
          q,
          { pool: { k, v, format }, table, positions, blockShift },
          attentionShape,
          variant(),
        ),
      ];
    },
    twin: ({ q, k, v, table, positions }) => [
      attentionDecodeF64(q, { k, v, table, positions, blockShift }, attentionShape),
    ],
    tolerance: negative ? 1e-4 : 1e-5,
    toleranceReason: "f32 sums over up to 205 keys of exponentials of f32 dot products of up to 128 terms" +
      (negative ? ", which are about -100: an ulp of such a score is 8e-6" : ""),
    benchOnly,
    bench: {
      flops: 4 * seen * heads * headDim,
      bytes: 2 * rows * heads * headDim * 4 + 2 * kept * kvHeads * headDim * (format === "f32" ? 4 : 2),
    },
  };
}

const WIDE: DecodeShape = {
  prompts: new Array(4).fill(256),
  group: 8,
  own: 257,
  heads: 8,
  kvHeads: 8,
  headDim: 64,
  benchOnly: true,
};

export const cases: OpCase[] = [
  decodeCase({ prompts: [1], group: 1, own: 1, heads: 1, kvHeads: 1, headDim: 4, blockShift: 1 }),
  decodeCase({ prompts: [5], group: 3, own: 2, heads: 1, kvHeads: 1, headDim: 4 }),
  decodeCase({ prompts: [5, 0, 40], group: 3, own: 5, heads: 4, kvHeads: 2, headDim: 16, retired: [1, 8] }),
  decodeCase({ prompts: [33, 7], group: 2, own: 70, heads: 3, kvHeads: 1, headDim: 80, blockShift: 3 }),
  decodeCase({ prompts: [33, 7], group: 2, own: 20, heads: 3, kvHeads: 3, headDim: 12, format: "bf16" }),
  decodeCase({ prompts: [3], group: 2, own: 3, heads: 2, kvHeads: 2, headDim: 128, format: "f16" }),
  decodeCase({ prompts: [33], group: 2, own: 8, heads: 2, kvHeads: 1, headDim: 36, format: "bf16" }),
  decodeCase({
    prompts: [5, 0, 200],
    group: 2,
    own: 5,
    heads: 4,
    kvHeads: 2,
    headDim: 16,
    retired: [1],
    gpuLanes: true,
  }),
  decodeCase({
    prompts: [150],
    group: 2,
    own: 9,
    heads: 7,
    kvHeads: 1,
    headDim: 64,
    format: "f16",
    gpuLanes: true,
  }),
  decodeCase({ prompts: [70], group: 2, own: 9, heads: 16, kvHeads: 2, headDim: 4, gpuLanes: true }),
  decodeCase({ prompts: [9], group: 2, own: 3, heads: 2, kvHeads: 1, headDim: 16, negative: true }),
  decodeCase({
    prompts: [40],
    group: 2,
    own: 3,
    heads: 2,
    kvHeads: 1,
    headDim: 16,
    negative: true,
    gpuLanes: true,
  }),
  decodeCase({
    prompts: [33],
    group: 2,
    own: 8,
    heads: 2,
    kvHeads: 1,
    headDim: 36,
    format: "bf16",
    gpuLanes: true,
  }),
  // Windows of one token, of two, of a block, of one that begins in the prompt, and past all tokens; Gemma's heads.
  decodeCase({
    prompts: [5, 0, 40],
    group: 3,
    own: 5,
    heads: 4,
    kvHeads: 2,
    headDim: 16,
    retired: [1],
    window: 1,
  }),
  decodeCase({
    prompts: [40],
    group: 3,
    own: 5,
    heads: 3,
    kvHeads: 1,
    headDim: 16,
    window: 2,
    softcap: 0.5,
  }),
  decodeCase({
    prompts: [33, 7],
    group: 2,
    own: 20,
    heads: 3,
    kvHeads: 1,
    headDim: 80,
    window: 16,
    format: "f16",
  }),
  decodeCase({
    prompts: [33, 7],
    group: 2,
    own: 9,
    heads: 4,
    kvHeads: 1,
    headDim: 256,
    window: 21,
    softcap: 50,
  }),
  decodeCase({ prompts: [33, 7, 9], group: 1, own: 9, heads: 3, kvHeads: 1, headDim: 256, window: 21 }),
  decodeCase({
    prompts: [33],
    group: 1,
    own: 9,
    heads: 3,
    kvHeads: 1,
    headDim: 132,
    window: 99,
    gpuLanes: true,
  }),
  decodeCase({
    prompts: [70],
    group: 2,
    own: 9,
    heads: 4,
    kvHeads: 1,
    headDim: 256,
    scale: 0.1,
    window: 30,
    softcap: 5,
    format: "bf16",
    gpuLanes: true,
  }),
  decodeCase({
    prompts: new Array(8).fill(24),
    group: 8,
    own: 33,
    heads: 4,
    kvHeads: 4,
    headDim: 16,
    benchOnly: true,
  }),
  decodeCase(WIDE),
  decodeCase({ ...WIDE, format: "f16" }),
  decodeCase({ ...WIDE, window: 128 }),
];
