import type { AttentionShape } from "../../src/ops/attention.ts";
import { attentionDecode, attentionDecodeF64, type DecodeContext } from "../../src/ops/attention_decode.ts";
import { type OpCase, uniform } from "../case.ts";

interface DecodeShape extends Omit<AttentionShape, "scale"> {
  /** Tokens of each prompt; an empty prompt is allowed. */
  prompts: number[];
  /** Completions of each prompt. */
  group: number;
  slots: number;
  position: number;
  benchOnly?: boolean;
}

function decodeCase(shape: DecodeShape): OpCase {
  const { prompts, group, slots, position, heads, kvHeads, headDim, benchOnly } = shape;
  const attentionShape: AttentionShape = { heads, kvHeads, headDim, scale: headDim ** -0.5 };
  const rows = prompts.length * group;
  const promptRows = prompts.reduce((a, b) => a + b, 0);
  const width = kvHeads * headDim;
  const ends = prompts.map((_, n) => prompts.slice(0, n + 1).reduce((a, b) => a + b, 0));
  const bounds = Int32Array.from({ length: rows * 2 }, (_, i) => {
    const prompt = Math.floor(i / 2 / group);
    return i % 2 ? ends[prompt] : ends[prompt] - prompts[prompt];
  });
  const seen = (promptRows * group + rows * (position + 1)) * heads;
  return {
    name:
      `attention_decode prompts ${prompts.length} of ${prompts[0]}, group ${group}, position ${position}, ` +
      `${heads}/${kvHeads} heads of ${headDim}`,
    inputs: {
      q: uniform(1, [rows, heads * headDim], 2),
      kPrompt: uniform(2, [promptRows, width], 2),
      vPrompt: uniform(3, [promptRows, width], 2),
      promptBounds: { shape: [rows, 2], values: bounds },
      kCache: uniform(4, [rows, slots, width], 2),
      vCache: uniform(5, [rows, slots, width], 2),
      position: { shape: [1], values: Int32Array.of(position) },
    },
    run: (
      { tensors: { q, ...context } },
    ) => [attentionDecode(q, context as unknown as DecodeContext, attentionShape)],
    twin: ({ q, ...context }) => [
      attentionDecodeF64(
        q,
        context as unknown as Record<keyof DecodeContext, ArrayLike<number>>,
        slots,
        attentionShape,
      ),
    ],
    tolerance: 1e-5,
    toleranceReason: "f32 sums over up to 100 keys of exponentials of f32 dot products of up to 128 terms",
    benchOnly,
    bench: {
      flops: 4 * seen * headDim,
      bytes: (2 * rows * heads + 2 * promptRows * kvHeads + 2 * rows * (position + 1) * kvHeads) * headDim *
        4,
    },
  };
}

export const cases: OpCase[] = [
  decodeCase({ prompts: [1], group: 1, slots: 1, position: 0, heads: 1, kvHeads: 1, headDim: 4 }),
  decodeCase({ prompts: [5, 0, 40], group: 3, slots: 9, position: 4, heads: 4, kvHeads: 2, headDim: 16 }),
  decodeCase({ prompts: [33, 7], group: 2, slots: 70, position: 69, heads: 3, kvHeads: 1, headDim: 80 }),
  decodeCase({ prompts: [3], group: 2, slots: 4, position: 2, heads: 2, kvHeads: 2, headDim: 128 }),
  decodeCase({
    prompts: new Array(8).fill(24),
    group: 8,
    slots: 64,
    position: 32,
    heads: 4,
    kvHeads: 4,
    headDim: 16,
    benchOnly: true,
  }),
  decodeCase({
    prompts: new Array(4).fill(256),
    group: 8,
    slots: 512,
    position: 256,
    heads: 8,
    kvHeads: 8,
    headDim: 64,
    benchOnly: true,
  }),
];
