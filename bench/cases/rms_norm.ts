import * as tf from "@tensorflow/tfjs";
import { rmsNorm, rmsNormF64, rmsNormGradF64 } from "../../src/ops/rms_norm.ts";
import { type OpCase, uniform, uniformWeight } from "../case.ts";

const EPS = 1e-5;

function rmsNormCase(rows: number, width: number, benchOnly = false): OpCase {
  return {
    name: `rms_norm ${rows}x${width}`,
    inputs: { x: uniform(1, [rows, width], 2), w: uniformWeight(2, [width]) },
    run: ({ tensors, weights }) => [rmsNorm(tensors.x, weights.w, EPS)],
    twin: ({ x, w }) => [rmsNormF64(x, w, rows, width, EPS).y],
    gradient: {
      wrt: ["x", "w"],
      twin: ({ x, w }, dy) => {
        const { dx, dw } = rmsNormGradF64(x, w, dy, rows, width, EPS);
        return { x: dx, w: dw };
      },
    },
    tolerance: 1e-5,
    toleranceReason: "f32 sums of up to 4096 terms",
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

export const cases: OpCase[] = [
  rmsNormCase(1, 3),
  rmsNormCase(7, 33),
  rmsNormCase(65, 64),
  rmsNormCase(3, 257),
  rmsNormCase(1, 4),
  rmsNormCase(9, 60),
  rmsNormCase(3, 260),
  rmsNormCase(2048, 96, true),
  rmsNormCase(1024, 2048, true),
];
