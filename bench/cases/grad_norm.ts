import * as tf from "@tensorflow/tfjs";
import { clipScale, gradNormF64 } from "../../src/ops/grad_norm.ts";
import { type OpCase, uniform } from "../case.ts";

export function normCase(sizes: number[], maxNorm: number, spoil = false, benchOnly = false): OpCase {
  const inputs = Object.fromEntries(sizes.map((size, i) => [`g${i}`, uniform(i + 1, [size])]));
  if (spoil) inputs.g0.values[0] = Infinity;
  return {
    name: `grad_norm ${sizes} max ${maxNorm}${spoil ? " with an infinity" : ""}`,
    inputs,
    run: ({ tensors }) => {
      const clip = clipScale(sizes.map((_, i) => tensors[`g${i}`]), maxNorm);
      return spoil ? [tf.slice(clip, 1, 1)] : [clip];
    },
    twin: (arrays) => {
      const { norm, scale } = gradNormF64(sizes.map((_, i) => arrays[`g${i}`]), maxNorm);
      return spoil ? [[scale]] : [[norm, scale]];
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
  normCase([65, 3], 1, true),
  normCase([49152], 1, false, true),
  normCase([4_194_304], 1, false, true),
];
