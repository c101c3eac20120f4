import * as tf from "@tensorflow/tfjs";
import { nonfiniteF64, nonfiniteParts } from "../../../src/ops/weight/nonfinite.ts";
import type { WeightFormat } from "../../../src/ops/weight/weight.ts";
import { type OpCase, uniformWeight } from "../case.ts";

/** @param places of values that are no numbers: NaN and the infinities, in turn */
function nonfiniteCase(
  rows: number,
  columns: number,
  format: WeightFormat,
  places: readonly number[],
  benchOnly = false,
): OpCase {
  const input = uniformWeight(1, [rows, columns], format);
  return {
    name: `nonfinite ${rows}x${columns} ${format}, ${places.length} of them`,
    inputs: {
      w: {
        shape: input.shape,
        weight: format,
        get values() {
          const values = Float64Array.from(input.values);
          // The largest finite value of f16 is no infinity.
          if (values.length > 3) values[3] = 65504;
          places.forEach((place, i) => values[place] = [NaN, Infinity, -Infinity][i % 3]);
          return values;
        },
      },
    },
    run: ({ weights }) => [tf.engine().makeTensorFromTensorInfo(nonfiniteParts(weights.w))],
    twin: ({ w }) => [Float64Array.from(nonfiniteF64(w, format === "f32" ? 1 : 2))],
    tolerance: 0,
    toleranceReason: "counts and places of bit patterns",
    benchOnly,
    bench: { bytes: (format === "f32" ? 4 : 2) * rows * columns },
  };
}

export const cases: OpCase[] = [
  nonfiniteCase(1, 1, "f32", []),
  nonfiniteCase(1, 2, "bf16", [1]),
  nonfiniteCase(37, 6, "f16", [0, 5, 221]),
  nonfiniteCase(1, 8193, "f32", [8191, 8192]),
  nonfiniteCase(3, 8192, "f32", [8192 + 77, 3 * 8192 - 1]),
  nonfiniteCase(5, 8192, "bf16", [2 * 8192 + 2, 2 * 8192 + 3]),
  nonfiniteCase(1024, 4096, "f32", [], true),
  nonfiniteCase(1024, 4096, "bf16", [], true),
];
