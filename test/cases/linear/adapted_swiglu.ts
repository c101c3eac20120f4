import { adaptedSwiglu } from "../../../src/ops/linear/adapted_swiglu.ts";
import { swigluF64 } from "../../../src/ops/elementwise/swiglu.ts";
import type { LinearOptions } from "../../../src/ops/linear/linear.ts";
import type { WeightFormat } from "../../../src/ops/weight/weight.ts";
import type { OpCase } from "../case.ts";
import { adaptedCase, forwardF64, layersOf } from "./adapted.ts";

interface AdaptedSwigluCase {
  /** Of gate and of up, 0 where one has no adapter. */
  ranks: [number, number];
  format?: WeightFormat;
  rows?: LinearOptions["rows"];
}

function adaptedSwigluCase(M: number, K: number, N: number, options: AdaptedSwigluCase): OpCase {
  const { ranks, format = "f32", rows = "many" } = options;
  const sizes = { M, K, widths: [N, N], ranks };
  return {
    name: `adapted_swiglu ${M}x${K}x${N} ranks ${ranks} ${format}${rows === "few" ? " few" : ""}`,
    inputs: adaptedCase(M, K, sizes.widths, { ranks, format }).inputs,
    run: (operands) => {
      const [gate, up] = layersOf(operands, sizes);
      return [adaptedSwiglu(operands.tensors.x, gate, up, rows)];
    },
    twin: (arrays) => {
      const { ys: [gate, up] } = forwardF64(arrays, sizes);
      return [swigluF64(gate, up)];
    },
    tolerance: 1e-5,
    toleranceReason: "f32 sums over the width and the ranks; WGSL lets exp err by 3 + 2|x| ulp",
  };
}

export const cases: OpCase[] = [
  adaptedSwigluCase(1, 4, 1, { ranks: [0, 0] }),
  adaptedSwigluCase(3, 40, 33, { ranks: [4, 0], rows: "few" }),
  adaptedSwigluCase(5, 264, 17, { ranks: [5, 3], format: "bf16", rows: "few" }),
  adaptedSwigluCase(19, 36, 20, { ranks: [2, 7] }),
];
