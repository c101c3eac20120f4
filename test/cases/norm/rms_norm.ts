import * as tf from "@tensorflow/tfjs";
import { rmsNorm, rmsNormF64, rmsNormGradF64 } from "../../../src/ops/norm/rms_norm.ts";
import { type CaseInput, type OpCase, uniform, uniformWeight } from "../case.ts";

const EPS = 1e-5;

interface RmsNormCase {
  /** Beside the x of a case, 1e-5 is below its tolerance, and 0.5 is most of what it is added to. */
  eps?: number;
  unitOffset?: boolean;
  benchOnly?: boolean;
}

function rmsNormCase(
  rows: number,
  width: number,
  { eps = EPS, unitOffset, benchOnly }: RmsNormCase = {},
): OpCase {
  return {
    name: `rms_norm ${rows}x${width}${eps === EPS ? "" : ` eps ${eps}, the first row 0`}${
      unitOffset ? " 1 + w" : ""
    }`,
    inputs: { x: normInput(rows, width, eps), w: uniformWeight(2, [width]) },
    run: ({ tensors, weights }) => [rmsNorm(tensors.x, weights.w, { eps, unitOffset })],
    twin: ({ x, w }) => [rmsNormF64(x, w, { rows, width, eps, unitOffset }).y],
    gradient: {
      wrt: ["x", "w"],
      twin: ({ x, w }, dy) => {
        const { dx, dw } = rmsNormGradF64(x, w, dy, { rows, width, eps, unitOffset });
        return { x: dx, w: dw };
      },
    },
    tolerance: rows > 4096 ? 1e-4 : 1e-5,
    toleranceReason: "f32 sums of up to 4096 terms, or in dw of 65539",
    benchOnly,
    bench: {
      bytes: 2 * rows * width * 4,
      plainTfjs: ({ tensors, weights }) => [
        tf.mul(
          tf.mul(tensors.x, tf.rsqrt(tf.add(tf.mean(tf.square(tensors.x), -1, true), EPS))),
          weights.w.tensor,
        ),
      ],
    },
  };
}

/** Of a norm with a large eps: small values, and a row of zeros, which eps alone keeps finite. */
export function normInput(rows: number, width: number, eps: number): CaseInput {
  if (eps === EPS) return uniform(1, [rows, width], 2);
  const { shape, values } = uniform(1, [rows, width], 0.3);
  return { shape, values: Float64Array.from(values).fill(0, 0, width) };
}

export const cases: OpCase[] = [
  rmsNormCase(1, 3),
  rmsNormCase(7, 33),
  rmsNormCase(65, 64),
  rmsNormCase(3, 257),
  rmsNormCase(1, 4),
  rmsNormCase(3, 1028),
  rmsNormCase(9, 60),
  rmsNormCase(3, 260),
  rmsNormCase(7, 33, { eps: 0.5 }),
  rmsNormCase(9, 60, { eps: 0.5 }),
  rmsNormCase(7, 33, { unitOffset: true }),
  rmsNormCase(9, 60, { unitOffset: true }),
  rmsNormCase(131, 70),
  rmsNormCase(65_539, 3),
  rmsNormCase(2048, 96, { benchOnly: true }),
  rmsNormCase(1024, 2048, { benchOnly: true }),
];
