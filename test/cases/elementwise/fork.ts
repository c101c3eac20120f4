import { add, addF64 } from "../../../src/ops/elementwise/add.ts";
import { fork } from "../../../src/ops/elementwise/fork.ts";
import { type OpCase, uniform } from "../case.ts";

/** Of the second reader's output. */
const SHARE = 0.5;

function forkCase(rows: number, width: number): OpCase {
  return {
    name: `fork ${rows}x${width}`,
    inputs: { x: uniform(1, [rows, width]) },
    run: ({ tensors }) => {
      const [first, second] = fork(tensors.x);
      return [add(first, second, SHARE)];
    },
    twin: ({ x }) => [addF64(x, x, SHARE)],
    gradient: { wrt: ["x"], twin: (_, dy) => ({ x: addF64(dy, dy, SHARE) }) },
    tolerance: 1.2e-7,
    toleranceReason: "one f32 fma",
  };
}

export const cases: OpCase[] = [forkCase(1, 1), forkCase(7, 33), forkCase(13, 64)];
