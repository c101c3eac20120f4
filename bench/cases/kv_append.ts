import { kvAppend, kvAppendF64 } from "../../src/ops/kv_append.ts";
import { type OpCase, uniform } from "../case.ts";

function kvAppendCase(
  rows: number,
  slots: number,
  width: number,
  position: number,
  benchOnly = false,
): OpCase {
  return {
    name: `kv_append ${rows}x${slots}x${width} at ${position}`,
    inputs: {
      cache: uniform(1, [rows, slots, width]),
      fresh: uniform(2, [rows, width]),
      position: { shape: [1], values: Int32Array.of(position) },
    },
    run: ({ tensors }) => {
      kvAppend(tensors.cache, tensors.fresh, tensors.position);
      return [tensors.cache];
    },
    twin: ({ cache, fresh, position }) => [kvAppendF64(cache, fresh, position[0], [rows, slots, width])],
    tolerance: 0,
    toleranceReason: "a copy",
    benchOnly,
    bench: { bytes: 2 * rows * width * 4 },
  };
}

export const cases: OpCase[] = [
  kvAppendCase(1, 1, 4, 0),
  kvAppendCase(5, 7, 12, 6),
  kvAppendCase(3, 4, 20, 4), // full: nothing is written
  kvAppendCase(2, 3, 8, -1),
  kvAppendCase(64, 64, 64, 31, true),
  kvAppendCase(64, 512, 1024, 200, true),
];
