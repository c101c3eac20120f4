import { geglu, gegluF64, gegluGradF64 } from "../../../src/ops/elementwise/geglu.ts";
import { type OpCase, uniform } from "../case.ts";

function gegluCase(rows: number, width: number, benchOnly = false): OpCase {
  return {
    name: `geglu ${rows}x${width}`,
    inputs: { gate: uniform(1, [rows, width], 6), up: uniform(2, [rows, width], 2) },
    run: ({ tensors }) => [geglu(tensors.gate, tensors.up)],
    twin: ({ gate, up }) => [gegluF64(gate, up)],
    gradient: {
      wrt: ["gate", "up"],
      twin: ({ gate, up }, dy) => {
        const { dgate, dup } = gegluGradF64(gate, up, dy);
        return { gate: dgate, up: dup };
      },
    },
    tolerance: 2e-6,
    toleranceReason: "one f32 exp of a cube, and a few products",
    benchOnly,
    bench: { bytes: 3 * rows * width * 4 },
  };
}

export const cases: OpCase[] = [
  gegluCase(1, 1),
  gegluCase(7, 33),
  gegluCase(13, 49),
  gegluCase(64, 65),
  gegluCase(1, 8),
  gegluCase(2048, 256, true),
  gegluCase(1024, 5504, true),
];
