import * as tf from "@tensorflow/tfjs";
import { swiglu, swigluF64, swigluGradF64 } from "../../../src/ops/elementwise/swiglu.ts";
import { type OpCase, uniform } from "../case.ts";

function swigluCase(rows: number, width: number, benchOnly = false): OpCase {
  return {
    name: `swiglu ${rows}x${width}`,
    inputs: { gate: uniform(1, [rows, width], 6), up: uniform(2, [rows, width], 2) },
    run: ({ tensors }) => [swiglu(tensors.gate, tensors.up)],
    twin: ({ gate, up }) => [swigluF64(gate, up)],
    gradient: {
      wrt: ["gate", "up"],
      twin: ({ gate, up }, dy) => {
        const { dgate, dup } = swigluGradF64(gate, up, dy);
        return { gate: dgate, up: dup };
      },
    },
    tolerance: 2e-6,
    toleranceReason: "one f32 exp and a few products",
    benchOnly,
    bench: {
      bytes: 3 * rows * width * 4,
      plainTfjs: ({ tensors }) => [tf.mul(tf.mul(tensors.gate, tf.sigmoid(tensors.gate)), tensors.up)],
    },
  };
}

export const cases: OpCase[] = [
  swigluCase(1, 1),
  swigluCase(7, 33),
  swigluCase(13, 49),
  swigluCase(64, 65),
  swigluCase(1, 8),
  swigluCase(2048, 256, true),
  swigluCase(1024, 5504, true),
];
