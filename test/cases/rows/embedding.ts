import * as tf from "@tensorflow/tfjs";
import { embedding, embeddingF64, embeddingGradF64 } from "../../../src/ops/rows/embedding.ts";
import type { WeightFormat } from "../../../src/ops/weight/weight.ts";
import { type OpCase, randomInts, uniform, uniformWeight } from "../case.ts";

/** Random ids, and those at the ends of the table and of its windows of 128 rows. */
function idsOf(tokens: number, vocab: number): Int32Array {
  const ends = [vocab - 1, 0, 127, 128, 255, 256].filter((id) => id < vocab);
  return randomInts(2, tokens, vocab).map((id, n) => n % 2 === 0 ? ends[n / 2] ?? id : id);
}

export function embeddingCase(
  tokens: number,
  vocab: number,
  width: number,
  format: WeightFormat,
  benchOnly = false,
): OpCase {
  return {
    name: `embedding ${tokens} of ${vocab}x${width} ${format}`,
    inputs: {
      root: uniform(1, []),
      ids: { shape: [tokens], values: idsOf(tokens, vocab) },
      table: uniformWeight(3, [vocab, width], format),
    },
    run: ({ tensors, weights }) => [embedding(tensors.root, tensors.ids, weights.table)],
    twin: ({ ids, table }) => [embeddingF64(table, ids, width)],
    gradient: format === "f32"
      ? {
        wrt: ["root", "table"],
        twin: ({ ids }, dy) => ({ root: [0], table: embeddingGradF64(ids, dy, vocab, width) }),
      }
      : undefined,
    tolerance: 1e-6,
    toleranceReason: "copies are exact; the gradient is an f32 sum of a few terms",
    benchOnly,
    bench: {
      bytes: 2 * tokens * width * 4,
      plainTfjs: ({ tensors, weights }) => [tf.gather(weights.table.tensor, tensors.ids as tf.Tensor1D)],
    },
  };
}

export const cases: OpCase[] = [
  embeddingCase(1, 1, 2, "f32"),
  embeddingCase(33, 11, 34, "f32"),
  embeddingCase(9, 5, 6, "bf16"),
  embeddingCase(9, 5, 6, "f16"),
  embeddingCase(37, 11, 68, "f32"),
  embeddingCase(9, 5, 20, "bf16"),
  embeddingCase(9, 5, 1028, "f16"),
  embeddingCase(2048, 512, 96, "f32", true),
  embeddingCase(1024, 32000, 1024, "f32", true),
];
