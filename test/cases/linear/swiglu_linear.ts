import * as tf from "@tensorflow/tfjs";
import type { LinearOptions } from "../../../src/ops/linear/linear.ts";
import { swigluLinear, swigluLinearF64 } from "../../../src/ops/linear/swiglu_linear.ts";
import type { WeightFormat } from "../../../src/ops/weight/weight.ts";
import { type OpCase, uniform, uniformWeight } from "../case.ts";

interface SwigluLinearCase {
  format?: WeightFormat;
  /** Where it is not that of gate. */
  upFormat?: WeightFormat;
  rows?: LinearOptions["rows"];
  benchOnly?: boolean;
}

export function swigluLinearCase(
  M: number,
  K: number,
  N: number,
  options: SwigluLinearCase = {},
): OpCase {
  const { format = "f32", upFormat = format, rows = "many", benchOnly } = options;
  return {
    name: `swiglu_linear ${M}x${K}x${N} ${format}${upFormat === format ? "" : ` and ${upFormat}`}${
      rows === "few" ? " few" : ""
    }`,
    inputs: {
      x: uniform(1, [M, K]),
      gate: uniformWeight(2, [N, K], format),
      up: uniformWeight(3, [N, K], upFormat),
    },
    run: ({ tensors, weights }) => [swigluLinear(tensors.x, weights.gate, weights.up, { rows })],
    twin: ({ x, gate, up }) => [swigluLinearF64(x, gate, up, { M, K, N })],
    tolerance: 1e-5,
    toleranceReason: "f32 sums over the width; WGSL lets exp err by 3 + 2|x| ulp",
    benchOnly,
    bench: {
      flops: 4 * M * K * N,
      bytes: 4 * (M * K + M * N) + 2 * (format === "f32" ? 4 : 2) * N * K,
      plainTfjs: format === "f32"
        ? ({ tensors, weights }) => {
          const gate = tf.matMul(tensors.x, weights.gate.tensor, false, true);
          return [
            tf.mul(tf.mul(gate, tf.sigmoid(gate)), tf.matMul(tensors.x, weights.up.tensor, false, true)),
          ];
        }
        : undefined,
    },
  };
}

export const cases: OpCase[] = [
  swigluLinearCase(1, 4, 1),
  swigluLinearCase(1, 40, 33, { rows: "few" }),
  swigluLinearCase(7, 12, 5, { rows: "few" }),
  swigluLinearCase(17, 36, 67),
  swigluLinearCase(33, 64, 70),
  swigluLinearCase(5, 35, 6),
  swigluLinearCase(19, 24, 21, { format: "bf16" }),
  swigluLinearCase(9, 40, 34, { format: "f16" }),
  swigluLinearCase(9, 40, 34, { format: "f16", upFormat: "bf16" }),
  swigluLinearCase(5, 40, 34, { format: "bf16", upFormat: "f32", rows: "few" }),
  swigluLinearCase(64, 64, 128, { rows: "few", benchOnly: true }),
  swigluLinearCase(32, 288, 768, { rows: "few", benchOnly: true }),
  swigluLinearCase(1536, 64, 128, { benchOnly: true }),
];
