import * as tf from "@tensorflow/tfjs";
import { add, addF64 } from "../../../src/ops/elementwise/add.ts";
import { residualNorm, residualNormGradF64 } from "../../../src/ops/norm/residual_norm.ts";
import { rmsNormF64 } from "../../../src/ops/norm/rms_norm.ts";
import { type OpCase, uniformWeight } from "../case.ts";
import { normInput } from "./rms_norm.ts";

/** Of the norm in the last output, which depends on both that the op makes. */
const SHARE = 0.5;
const OUTPUTS = ["stream", "norm", "both"] as const;

/** @param output which one is differentiated: the other's gradient is then 0 */
function residualNormCase(
  rows: number,
  width: number,
  output: (typeof OUTPUTS)[number] = "both",
  benchOnly = false,
  eps = 1e-5,
  unitOffset = false,
): OpCase {
  return {
    name: `residual_norm ${rows}x${width}, gradient of ${output}${eps === 1e-5 ? "" : `, eps ${eps}`}${
      unitOffset ? ", 1 + w" : ""
    }`,
    inputs: { x: normInput(rows, width, eps), w: uniformWeight(3, [width]) },
    run: ({ tensors: { x }, weights }) => {
      const [stream, normed] = residualNorm(x, weights.w, { eps, unitOffset });
      return benchOnly ? [stream, normed] : [stream, normed, add(stream, normed, SHARE)];
    },
    twin: ({ x, w }) => {
      const { y } = rmsNormF64(x, w, { rows, width, eps, unitOffset });
      return [x, y, addF64(x, y, SHARE)];
    },
    gradient: {
      wrt: ["x", "w"],
      output: benchOnly ? 1 : OUTPUTS.indexOf(output),
      twin: ({ x, w }, dy) => {
        const times = (factor: number) => dy.map((value) => value * factor);
        const [dstream, dnormed] = output === "stream"
          ? [dy, times(0)]
          : output === "norm"
          ? [times(0), dy]
          : [dy, times(SHARE)];
        const { dx, dw } = residualNormGradF64({ x, w, dstream, dnormed }, { rows, width, eps, unitOffset });
        return { x: dx, w: dw };
      },
    },
    tolerance: 1e-5,
    toleranceReason: "f32 sums of up to 4096 terms",
    benchOnly,
    bench: {
      bytes: 2 * rows * width * 4,
      plainTfjs: ({ tensors: { x }, weights }) => {
        const scale = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), eps));
        return [x, tf.mul(tf.mul(x, scale), weights.w.tensor)];
      },
    },
  };
}

export const cases: OpCase[] = [
  residualNormCase(1, 3),
  residualNormCase(7, 33, "norm"),
  residualNormCase(1, 4),
  residualNormCase(9, 60),
  residualNormCase(65, 64, "stream"),
  residualNormCase(65, 64, "norm"),
  residualNormCase(3, 260),
  residualNormCase(7, 33, "both", false, 0.5),
  residualNormCase(9, 60, "both", false, 0.5),
  residualNormCase(7, 33, "both", false, 1e-5, true),
  residualNormCase(9, 60, "both", false, 1e-5, true),
  residualNormCase(2048, 96, "norm", true),
  residualNormCase(1024, 2048, "norm", true),
];
