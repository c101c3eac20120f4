import * as tf from "@tensorflow/tfjs";
import { add, addF64, scaled } from "../../../src/ops/elementwise/add.ts";
import { type OpCase, uniform } from "../case.ts";

function addCase(rows: number, width: number, scale = 1, benchOnly = false): OpCase {
  const factor = Math.fround(scale);
  return {
    name: `add ${rows}x${width}${scale === 1 ? "" : ` scale ${scale}`}`,
    inputs: { a: uniform(1, [rows, width]), b: uniform(2, [rows, width]) },
    run: ({ tensors }) => [add(tensors.a, tensors.b, scale)],
    twin: ({ a, b }) => [addF64(a, b, factor)],
    gradient: {
      wrt: ["a", "b"],
      twin: (_, dy) => ({ a: dy, b: dy.map((value) => value * factor) }),
    },
    tolerance: 1.2e-7,
    toleranceReason: "one f32 fma, or a product and a sum",
    benchOnly,
    bench: {
      bytes: 3 * rows * width * 4,
      plainTfjs: ({ tensors }) => [
        scale === 1 ? tf.add(tensors.a, tensors.b) : tf.add(tensors.a, tf.mul(tensors.b, scale)),
      ],
    },
  };
}

/** The scale alone. */
function scaledCase(rows: number, width: number, scale: number): OpCase {
  const times = (values: ArrayLike<number>) =>
    Float64Array.from(values, (value) => value * Math.fround(scale));
  return {
    name: `scaled ${rows}x${width} by ${scale}`,
    inputs: { x: uniform(1, [rows, width]) },
    run: ({ tensors }) => [scaled(tensors.x, scale)],
    twin: ({ x }) => [times(x)],
    gradient: { wrt: ["x"], twin: (_, dy) => ({ x: times(dy) }) },
    tolerance: 1.2e-7,
    toleranceReason: "one f32 product",
  };
}

export const cases: OpCase[] = [
  scaledCase(7, 33, -2 / 3),
  scaledCase(13, 64, 12),
  addCase(1, 1),
  addCase(5, 13),
  addCase(13, 49),
  addCase(65, 64),
  addCase(33, 36),
  addCase(1, 1, -0.5),
  addCase(7, 33, 2 / 3),
  addCase(65, 64, 2),
  addCase(2048, 96, 1, true),
  addCase(1024, 4096, 1, true),
  addCase(1024, 4096, 2, true),
];
