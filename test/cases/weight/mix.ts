import * as tf from "@tensorflow/tfjs";
import { mixF64, mixWeight } from "../../../src/ops/weight/mix.ts";
import type { WeightFormat } from "../../../src/ops/weight/weight.ts";
import { type OpCase, uniform, uniformWeight } from "../case.ts";

function mixCase(shape: [number, number], format: WeightFormat, share: number): OpCase {
  return {
    name: `mix ${shape.join("x")} ${format} share ${share}`,
    inputs: { target: uniform(1, shape), source: uniformWeight(2, shape, format) },
    run: ({ tensors: { target }, weights: { source } }) => {
      mixWeight({ name: "target", shape, format: "f32", tensor: target, grad: null }, source, share);
      return [target.clone()];
    },
    twin: ({ target, source }) => [mixF64(target, source, share)],
    tolerance: 2e-7,
    toleranceReason: "two roundings of f32",
    bench: {
      bytes: shape[0] * shape[1] * (format === "f32" ? 12 : 10),
      plainTfjs: format === "f32"
        ? ({ tensors, weights }) => [
          tf.add(tf.mul(tensors.target, 1 - share), tf.mul(weights.source.tensor, share)),
        ]
        : undefined,
    },
  };
}

export const cases: OpCase[] = [
  mixCase([4, 1], "f32", 0.6),
  mixCase([36, 33], "f32", 0.6),
  mixCase([7, 12], "bf16", 0.25),
  mixCase([33, 34], "bf16", 1),
  mixCase([5, 6], "f16", 0.01),
];
