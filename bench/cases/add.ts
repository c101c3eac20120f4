import * as tf from "@tensorflow/tfjs";
import { add, addF64 } from "../../src/ops/add.ts";
import { type OpCase, uniform } from "../case.ts";

function addCase(rows: number, width: number, benchOnly = false): OpCase {
  return {
    name: `add ${rows}x${width}`,
    inputs: { a: uniform(1, [rows, width]), b: uniform(2, [rows, width]) },
    run: ({ tensors }) => [add(tensors.a, tensors.b)],
    twin: ({ a, b }) => [addF64(a, b)],
    gradient: { wrt: ["a", "b"], twin: (_, dy) => ({ a: dy, b: dy }) },
    tolerance: 1e-7,
    toleranceReason: "one f32 addition",
    benchOnly,
    bench: { bytes: 3 * rows * width * 4, plainTfjs: ({ tensors }) => [tf.add(tensors.a, tensors.b)] },
  };
}

export const cases: OpCase[] = [
  addCase(1, 1),
  addCase(5, 13),
  addCase(65, 64),
  addCase(2048, 96, true),
  addCase(1024, 4096, true),
];
