import * as tf from "@tensorflow/tfjs";
import { gatherRows, gatherRowsF64, inverseRows } from "../../../src/ops/rows/gather_rows.ts";
import { type OpCase, uniform } from "../case.ts";

/** Picks every second row, backwards, and a -1 at the end, which plain tfjs does not know: benchmarks go without. */
function gatherCase(count: number, width: number, benchOnly = false): OpCase {
  const picked = Array.from({ length: Math.ceil(count / 2) }, (_, m) => count - 1 - 2 * m);
  const rows = Int32Array.from(benchOnly ? picked : [...picked, -1]);
  const inverse = inverseRows(rows, count);
  return {
    name: `gather_rows ${rows.length} of ${count}x${width}`,
    inputs: {
      x: uniform(1, [count, width]),
      rows: { shape: [rows.length], values: rows },
      inverse: { shape: [count], values: inverse },
    },
    run: ({ tensors }) => [gatherRows(tensors.x, tensors.rows, tensors.inverse)],
    twin: ({ x }) => [gatherRowsF64(x, rows, width)],
    gradient: { wrt: ["x"], twin: (_, dy) => ({ x: gatherRowsF64(dy, inverse, width) }) },
    tolerance: 0,
    toleranceReason: "copies are exact",
    benchOnly,
    bench: {
      bytes: 2 * rows.length * width * 4,
      plainTfjs: ({ tensors }) => [tf.gather(tensors.x, tensors.rows as tf.Tensor1D)],
    },
  };
}

export const cases: OpCase[] = [
  gatherCase(1, 1),
  gatherCase(9, 5),
  gatherCase(130, 33),
  gatherCase(130, 36),
  gatherCase(9, 1036),
  gatherCase(4096, 96, true),
  gatherCase(2048, 4096, true),
];
