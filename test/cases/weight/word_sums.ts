import * as tf from "@tensorflow/tfjs";
import { wordSums, wordSumsU32 } from "../../../src/ops/weight/word_sums.ts";
import { type OpCase, randomFloats } from "../case.ts";

const wordsOf = (values: ArrayLike<number>) => new Int32Array(Float32Array.from(values).buffer);

function wordSumsCase(count: number, benchOnly = false): OpCase {
  return {
    name: `word_sums ${count}`,
    inputs: {
      values: {
        shape: [count],
        get values() {
          return randomFloats(1, count);
        },
      },
    },
    run: ({ tensors }) => [tf.engine().makeTensorFromTensorInfo(wordSums(tensors.values))],
    twin: ({ values }) => [Float64Array.from(wordSumsU32(wordsOf(values)))],
    tolerance: 0,
    toleranceReason: "sums of whole numbers modulo 2^32 have no order",
    benchOnly,
    bench: { bytes: 4 * count },
  };
}

export const cases: OpCase[] = [
  wordSumsCase(1),
  wordSumsCase(37),
  wordSumsCase(8192),
  wordSumsCase(8193),
  wordSumsCase(2 * 8192 + 5),
  wordSumsCase(4 * 8192 + 1),
  wordSumsCase(2 ** 22, true),
  wordSumsCase(2 ** 20 + 1, true),
];
