import * as tf from "@tensorflow/tfjs";
import { halvesF64, halvesPitch, makeHalves } from "../../../src/ops/linear/halves.ts";
import { packWords } from "../../../src/ops/weight/pack.ts";
import { type OpCase, uniform } from "../case.ts";

/** The halves' words of [M,S], of which K columns count, with zeros behind. */
export function halfWordsF64(a: ArrayLike<number>, [M, K, S]: number[]) {
  const counted = Float64Array.from({ length: M * K }, (_, i) => a[Math.floor(i / K) * S + i % K]);
  const { values, shift } = halvesF64(counted, M, K);
  const pitch = halvesPitch(K);
  const padded = new Float64Array(M * pitch);
  for (let m = 0; m < M; m++) padded.set(values.subarray(m * K, (m + 1) * K), m * pitch);
  return [packWords(padded, "f16"), shift];
}

/** Rows of very different sizes, from 2^-120 to 2^120, and a row of zeros; what lies beyond K does not count. */
function halvesCase(M: number, K: number, S = K, benchOnly = false): OpCase {
  const input = uniform(1, [M, S]);
  const a = {
    shape: input.shape,
    get values() {
      return Float64Array.from(input.values.map((value, i) => {
        const [m, k] = [Math.floor(i / S), i % S];
        if (k >= K) return 1e30;
        return m % 7 === 3 ? 0 : Math.fround(value * 2 ** ((m * 37) % 240 - 120 - (k % 5) * 4));
      }));
    },
  };
  return {
    name: `halves ${M}x${K}${S === K ? "" : ` of ${M}x${S}`}`,
    inputs: { a },
    run: ({ tensors }) => {
      const { values, shift } = makeHalves({ matrix: { tensor: tensors.a }, rows: M, width: K, stride: S });
      return [values, shift].map((info) => tf.engine().makeTensorFromTensorInfo(info));
    },
    twin: ({ a }) => halfWordsF64(a, [M, K, S]),
    tolerance: 0,
    toleranceReason: "rounding to f16 is to the nearest, ties to even",
    benchOnly,
    bench: { bytes: 6 * M * K },
  };
}

export const cases: OpCase[] = [
  halvesCase(1, 4),
  halvesCase(29, 260),
  halvesCase(17, 1032),
  halvesCase(5, 33, 36),
  halvesCase(1, 1, 4),
  halvesCase(40, 299, 300),
  halvesCase(65_539, 4),
  halvesCase(512, 4096, 4096, true),
  halvesCase(2048, 11_008, 11_008, true),
];
