/** Attention at the sizes of a 7B model: completions that go on from their prompt, and the newest tokens of many. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { openGpu } from "../../src/gpu/device.ts";
import { backpropagate } from "../../src/gpu/op.ts";
import { attention } from "../../src/ops/attention/attention.ts";
import { attentionDecode } from "../../src/ops/attention/attention_decode.ts";
import { linear } from "../../src/ops/linear/linear.ts";
import type { WeightFormat } from "../../src/ops/weight/weight.ts";
import { KV_CACHE_FORMAT } from "../../src/policy/decode/kv_blocks.ts";
import { packSequences } from "../../src/policy/packing.ts";
import { packRests } from "../../src/policy/shared_prefix.ts";
import { emptyTensor } from "../../src/gpu/tensors.ts";
import type { PartContext } from "./report_line.ts";
import { intTensor, randomTensor, randomWeight, timeCase, type TimedCase } from "./timed_case.ts";

interface Heads {
  heads: number;
  kvHeads: number;
  headDim: number;
}

const LLAMA_7B: Heads = { heads: 32, kvHeads: 32, headDim: 128 };
const LLAMA_8B: Heads = { heads: 32, kvHeads: 8, headDim: 128 };
const SMALL: Heads = { heads: 4, kvHeads: 2, headDim: 32 };

interface Completions extends Heads {
  prompt: number;
  tokens: number;
  completions: number;
}

/** Keys that all rows see together. */
const seenPairs = ({ prompt, tokens, completions }: Completions) =>
  completions * (tokens * (prompt - 1) + tokens * (tokens + 1) / 2);

function completionOperands({ heads, kvHeads, headDim, prompt, tokens, completions }: Completions) {
  const zeros = (count: number) => new Int32Array(count);
  const prefixes = packSequences([zeros(prompt - 1)]);
  const rests = packRests(
    Array.from({ length: completions }, () => zeros(tokens)),
    Array(completions).fill(0),
    prefixes,
  );
  const [rows, prefixRows] = [rests.ids.length, prefixes.ids.length];
  const shape = { heads, kvHeads, headDim, scale: headDim ** -0.5 };
  const prefix = {
    k: randomTensor([prefixRows, kvHeads * headDim]),
    v: randomTensor([prefixRows, kvHeads * headDim]),
    dk: emptyTensor([prefixRows, kvHeads * headDim]),
    dv: emptyTensor([prefixRows, kvHeads * headDim]),
    ranges: intTensor(rests.ranges, [rows, 2]),
    readers: intTensor(rests.readers, [prefixRows, 2]),
  };
  const bounds = intTensor(rests.bounds, [rows, 2]);
  const [q, k, v] = [heads, kvHeads, kvHeads].map((count) => randomTensor([rows, count * headDim]));
  return { shape, prefix, bounds, q, k, v, dy: randomTensor([rows, heads * headDim]) };
}

function completionCase(sizes: Completions, isBackward: boolean): TimedCase {
  const { heads, kvHeads, headDim, prompt, tokens, completions } = sizes;
  const products = isBackward ? 7 : 2; // backward makes the scores again for queries and for keys
  return {
    name:
      `attention${isBackward ? " and its gradients" : ""}, ${completions} x ${tokens} tokens after ${
        prompt - 1
      }, ` +
      `${heads} heads over ${kvHeads} of ${headDim}`,
    flops: (isBackward ? products + 2 : products) * 2 * seenPairs(sizes) * heads * headDim,
    unit: "fma",
    seen: { sequence: tokens, prefix: prompt - 1, readers: completions, held: 0, prompt: 0, group: 1 },
    make() {
      const { shape, prefix, bounds, q, k, v, dy } = completionOperands(sizes);
      const forward = (...[q, k, v]: Tensor[]) => attention({ q, k, v, bounds, prefix }, shape);
      if (!isBackward) return () => forward(q, k, v);
      return () => backpropagate(() => forward(q, k, v), [q, k, v], dy);
    },
  };
}

interface DecodeSizes extends Heads {
  rows: number;
  length: number;
  format: WeightFormat;
}

const BLOCK_SHIFT = 4;

function decodeCase({ rows, length, format, ...heads }: DecodeSizes): TimedCase {
  const width = heads.kvHeads * heads.headDim;
  const bytesEach = format === "f32" ? 4 : 2;
  return {
    name:
      `decode attention, ${rows} rows of ${length} tokens, ${heads.heads} heads over ${heads.kvHeads}, ${format}`,
    bytes: 2 * rows * length * width * bytesEach,
    seen: { sequence: 1, prefix: 0, readers: 1, held: length, prompt: 0, group: 1 },
    make() {
      const blocks = Math.ceil(length / 2 ** BLOCK_SHIFT);
      const table = Int32Array.from({ length: rows * (blocks + 1) }, (_, i) => {
        const column = i % (blocks + 1);
        return column === 0 ? 0 : Math.floor(i / (blocks + 1)) * blocks + column - 1;
      });
      const pool = () => randomWeight([rows * blocks * 2 ** BLOCK_SHIFT, width], format).tensor;
      const shaped = (tensor: Tensor) =>
        tf.reshape(tensor, [
          rows * blocks,
          2 ** BLOCK_SHIFT,
          tensor.size / (rows * blocks * 2 ** BLOCK_SHIFT),
        ]);
      const context = {
        table: intTensor(table, [rows, blocks + 1]),
        blockShift: BLOCK_SHIFT,
        pool: { k: shaped(pool()), v: shaped(pool()), format },
        positions: intTensor(new Int32Array(rows).fill(length - 1), [rows]),
      };
      const q = randomTensor([rows, heads.heads * heads.headDim]);
      return () => attentionDecode(q, context, { ...heads, scale: heads.headDim ** -0.5 });
    },
  };
}

/** The two products of an adapter of rank 16, as a layer without fusion runs them. */
function adapterCase(rows: number, width: number): TimedCase {
  return {
    name: `adapter of rank 16, ${rows} rows x ${width}`,
    bytes: 4 * (rows * width * 2 + 2 * 16 * width),
    make() {
      const [x, a, b] = [
        randomTensor([rows, width]),
        randomWeight([16, width], "f32"),
        randomWeight([width, 16], "f32"),
      ];
      return () => linear(linear(x, a, { rows: rows <= 64 ? "few" : "many" }), b, { rows: "many" });
    },
  };
}

/** Says attention and adapters. */
export async function reportAttention({ isSmall, say }: PartContext): Promise<void> {
  await openGpu();
  const cases: TimedCase[] = [];
  for (const heads of isSmall ? [SMALL] : [LLAMA_7B, LLAMA_8B]) {
    const [prompt, tokens] = isSmall ? [8, 24] : [128, 512];
    for (const completions of isSmall ? [2] : [1, 4]) {
      const sizes = { ...heads, prompt, tokens, completions };
      cases.push(completionCase(sizes, false), completionCase(sizes, true));
    }
    const formats = [KV_CACHE_FORMAT.float16, KV_CACHE_FORMAT.float32];
    for (const length of isSmall ? [20] : [128, 384, 640, 2048]) {
      for (const format of formats) {
        cases.push(decodeCase({ ...heads, rows: isSmall ? 3 : 60, length, format }));
      }
    }
    cases.push(
      decodeCase({ ...heads, rows: isSmall ? 1 : 4, length: isSmall ? 20 : 640, format: formats[0] }),
    );
  }
  const [rows, width] = isSmall ? [[3, 40], 64] : [[60, 512], 4096];
  for (const each of rows as number[]) cases.push(adapterCase(each, width as number));
  for (const each of cases) await timeCase(each, say);
}
