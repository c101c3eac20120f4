import { addGradient } from "../../../src/ops/elementwise/add_gradient.ts";
import { type OpCase, uniform } from "../case.ts";

/** Its gradient is not that of its output: test/gpu/attention_prefix.test.ts holds it. */
function addGradientCase(rows: number, width: number): OpCase {
  return {
    name: `add_gradient ${rows}x${width}`,
    inputs: { x: uniform(1, [rows, width]), accumulator: uniform(2, [rows, width]) },
    run: ({ tensors }) => [addGradient(tensors.x, tensors.accumulator)],
    twin: ({ x }) => [x],
    tolerance: 0,
    toleranceReason: "the same buffer",
  };
}

export const cases: OpCase[] = [addGradientCase(1, 1), addGradientCase(7, 33)];
