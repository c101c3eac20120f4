import * as tf from "@tensorflow/tfjs";
import { add, addF64 } from "../../src/ops/add.ts";
import { addRmsNorm, addRmsNormF64, addRmsNormGradF64 } from "../../src/ops/add_rms_norm.ts";
import { type OpCase, uniform, uniformWeight } from "../case.ts";

const EPS = 1e-5;
/** Of the norm in the third output, which depends on both that the op makes. */
const SHARE = 0.5;
const OUTPUTS = ["sum", "norm", "both"] as const;

/** @param output which one is differentiated: the other's gradient is then 0 */
function addRmsNormCase(
  rows: number,
  width: number,
  output: (typeof OUTPUTS)[number] = "both",
  benchOnly = false,
): OpCase {
  return {
    name: `add_rms_norm ${rows}x${width}, gradient of ${output}`,
    inputs: {
      x: uniform(1, [rows, width], 2),
      branch: uniform(2, [rows, width]),
      w: uniformWeight(3, [width]),
    },
    run: ({ tensors: { x, branch }, weights }) => {
      const [sum, normed] = addRmsNorm(x, branch, weights.w, EPS);
      return benchOnly ? [sum, normed] : [sum, normed, add(sum, normed, SHARE)];
    },
    twin: ({ x, branch, w }) => {
      const { sum, normed } = addRmsNormF64(x, branch, w, rows, width, EPS);
      return [sum, normed, addF64(sum, normed, SHARE)];
    },
    gradient: {
      wrt: ["x", "branch", "w"],
      output: benchOnly ? 1 : OUTPUTS.indexOf(output),
      twin: ({ x, branch, w }, dy) => {
        const { sum } = addRmsNormF64(x, branch, w, rows, width, EPS);
        const times = (factor: number) => dy.map((value) => value * factor);
        const [dsum, dnormed] = output === "sum"
          ? [dy, times(0)]
          : output === "norm"
          ? [times(0), dy]
          : [dy, times(SHARE)];
        const { dx, dw } = addRmsNormGradF64(sum, w, dsum, dnormed, rows, width, EPS);
        return { x: dx, branch: dx, w: dw };
      },
    },
    tolerance: 1e-5,
    toleranceReason: "f32 sums of up to 4096 terms",
    benchOnly,
    bench: {
      bytes: 4 * rows * width * 4,
      plainTfjs: ({ tensors: { x, branch }, weights }) => {
        const sum = tf.add(x, branch);
        const scale = tf.rsqrt(tf.add(tf.mean(tf.square(sum), -1, true), EPS));
        return [sum, tf.mul(tf.mul(sum, scale), weights.w.tensor)];
      },
    },
  };
}

export const cases: OpCase[] = [
  addRmsNormCase(1, 3),
  addRmsNormCase(7, 33, "norm"),
  addRmsNormCase(1, 4),
  addRmsNormCase(9, 60),
  addRmsNormCase(65, 64, "sum"),
  addRmsNormCase(65, 64, "norm"),
  addRmsNormCase(3, 260),
  addRmsNormCase(2048, 96, "both", true),
  addRmsNormCase(1024, 2048, "both", true),
];
