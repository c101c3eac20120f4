import * as tf from "@tensorflow/tfjs";
import { clipScale, gradNormF64 } from "../../../src/ops/optimizer/grad_norm.ts";
import { type OpCase, uniform } from "../case.ts";

interface NormCase {
  /** Stands in the last gradient, as its last value. */
  spoil?: number;
  scale?: number;
  benchOnly?: boolean;
}

export function normCase(sizes: number[], maxNorm: number, options: NormCase = {}): OpCase {
  const { spoil, scale = 1, benchOnly } = options;
  const inputs = Object.fromEntries(sizes.map((size, i) => [`g${i}`, uniform(i + 1, [size], scale)]));
  if (spoil !== undefined) inputs[`g${sizes.length - 1}`].values[sizes[sizes.length - 1] - 1] = spoil;
  return {
    name: `grad_norm ${sizes} max ${maxNorm}${spoil === undefined ? "" : ` with ${spoil}`}`,
    inputs,
    run: ({ tensors }) => [clipScale(sizes.map((_, i) => tensors[`g${i}`]), maxNorm)],
    twin: (arrays) => {
      const { norm, scale } = gradNormF64(sizes.map((_, i) => arrays[`g${i}`]), maxNorm);
      return [[norm, scale]];
    },
    tolerance: 1e-6,
    toleranceReason: "f32 sums of squares in runs of 8192",
    benchOnly,
    bench: {
      bytes: sizes.reduce((sum, n) => sum + n, 0) * 4,
      plainTfjs: (
        { tensors },
      ) => [tf.sqrt(tf.addN(sizes.map((_, i) => tf.sum(tf.square(tensors[`g${i}`])))))],
    },
  };
}

export const cases: OpCase[] = [
  normCase([1], 1),
  normCase([33, 8192, 9001], 1),
  normCase([5], 100),
  normCase([36, 8192, 9004], 1),
  normCase([65, 3], 0),
  // Beside so small a norm the 1e-6 that is added to it shows.
  normCase([5], 1e-6, { scale: 1e-6 }),
  normCase([16_387], 1),
  normCase([16_388], 1),
  normCase([3, 65], 1, { spoil: Infinity }),
  normCase([4, 64], 0, { spoil: -Infinity }),
  normCase([3, 65], 0, { spoil: NaN }),
  normCase([4, 8200], 1, { spoil: NaN }),
  normCase([49152], 1, { benchOnly: true }),
  normCase([4_194_304], 1, { benchOnly: true }),
];
