import { joinColumnsF64, splitColumns, splitColumnsF64 } from "../../../src/ops/rows/columns.ts";
import { type OpCase, uniform } from "../case.ts";

/** @param part which one is differentiated: the gradients of the others are then 0 */
function columnsCase(rows: number, widths: number[], part: number, benchOnly = false): OpCase {
  return {
    name: `columns ${rows} rows, ${widths.join(" + ")}, gradient of part ${part}`,
    inputs: { x: uniform(1, [rows, widths.reduce((sum, width) => sum + width, 0)]) },
    run: ({ tensors }) => splitColumns(tensors.x, widths),
    twin: ({ x }) => splitColumnsF64(x, widths),
    gradient: {
      wrt: ["x"],
      output: part,
      twin: (_, dy) => ({
        x: joinColumnsF64(
          widths.map((width, i) => i === part ? dy : new Float64Array(rows * width)),
          widths,
        ),
      }),
    },
    tolerance: 0,
    toleranceReason: "copies",
    benchOnly,
    bench: { bytes: 2 * rows * widths.reduce((sum, width) => sum + width, 0) * 4 },
  };
}

export const cases: OpCase[] = [
  columnsCase(1, [1], 0),
  columnsCase(29, [5, 3, 8], 1),
  columnsCase(61, [12, 4, 4], 2),
  columnsCase(13, [64, 32, 32], 0),
  columnsCase(33, [36, 36], 1),
  columnsCase(2048, [3072, 3072], 0, true),
  columnsCase(512, [3072, 1024, 1024], 1, true),
];
