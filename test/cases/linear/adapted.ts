import * as tf from "@tensorflow/tfjs";
import { adaptedLinears } from "../../../src/ops/linear/adapted.ts";
import type { AdaptedLayer } from "../../../src/ops/linear/adapted_layer.ts";
import { linearF64, linearGradF64, type LinearOptions } from "../../../src/ops/linear/linear.ts";
import type { WeightFormat } from "../../../src/ops/weight/weight.ts";
import { type Arrays, type OpCase, type Operands, uniform, uniformWeight } from "../case.ts";
import { joinColumns, splitColumns } from "./linear.ts";

const SCALE = 1.5;

interface AdaptedCase {
  /** Ranks of the layers' adapters, 0 where one has none. */
  ranks: number[];
  format?: WeightFormat;
  /** Of the adapters. */
  lowFormat?: WeightFormat;
  /** Of every other layer, or of all. */
  bias?: boolean | "all";
  residual?: boolean;
  rows?: LinearOptions["rows"];
  benchOnly?: boolean;
}

interface Sizes {
  M: number;
  K: number;
  widths: number[];
  ranks: number[];
}

export function layersOf({ weights }: Operands, { widths, ranks }: Sizes): AdaptedLayer[] {
  return widths.map((_, i) => ({
    weight: weights[`w${i}`],
    bias: weights[`bias${i}`],
    adapter: ranks[i] > 0 ? { a: weights[`a${i}`], b: weights[`b${i}`], scale: SCALE } : undefined,
  }));
}

/** Outputs of each layer, and what each A made of x. */
export function forwardF64(arrays: Arrays, { M, K, widths, ranks }: Sizes) {
  const lows = ranks.map((N, i) => N > 0 ? linearF64(arrays.x, arrays[`a${i}`], { M, K, N }) : undefined);
  const ys = widths.map((N, i) => {
    const { residual, [`bias${i}`]: bias } = arrays;
    const y = linearF64(arrays.x, arrays[`w${i}`], { M, K, N, bias, residual });
    const added = lows[i] && linearF64(lows[i], arrays[`b${i}`], { M, K: ranks[i], N });
    return added ? y.map((value, at) => value + SCALE * added[at]) : y;
  });
  return { lows, ys };
}

function gradientF64(arrays: Arrays, dys: Float64Array[], sizes: Sizes): Record<string, ArrayLike<number>> {
  const { M, K, widths, ranks } = sizes;
  const { lows } = forwardF64(arrays, sizes);
  const dx = new Float64Array(M * K);
  const grads: Record<string, ArrayLike<number>> = { x: dx, residual: dys[0] };
  const add = (values: Float64Array) => values.forEach((value, at) => dx[at] += value);
  widths.forEach((N, i) => {
    const made = linearGradF64(arrays.x, arrays[`w${i}`], dys[i], { M, K, N });
    add(made.dx);
    Object.assign(grads, { [`w${i}`]: made.dw, [`bias${i}`]: made.db });
    const low = lows[i];
    if (!low) return;
    const scaled = dys[i].map((value) => SCALE * value);
    const up = linearGradF64(low, arrays[`b${i}`], scaled, { M, K: ranks[i], N });
    const down = linearGradF64(arrays.x, arrays[`a${i}`], up.dx, { M, K, N: ranks[i] });
    add(down.dx);
    Object.assign(grads, { [`a${i}`]: down.dw, [`b${i}`]: up.dw });
  });
  return grads;
}

/** The outputs come side by side in one tensor first, so that the gradient of all of them is tested. */
export function adaptedCase(M: number, K: number, widths: number[], options: AdaptedCase): OpCase {
  const { ranks, format = "f32", lowFormat = "f32", bias, residual, rows = "many", benchOnly } = options;
  const sizes = { M, K, widths, ranks };
  const inputs: OpCase["inputs"] = { x: uniform(1, [M, K]) };
  widths.forEach((N, i) => {
    inputs[`w${i}`] = uniformWeight(10 + i, [N, K], format);
    if (bias === "all" || bias && i % 2 === 0) inputs[`bias${i}`] = uniformWeight(20 + i, [N]);
    if (ranks[i] === 0) return;
    inputs[`a${i}`] = uniformWeight(30 + i, [ranks[i], K], lowFormat);
    inputs[`b${i}`] = uniformWeight(40 + i, [N, ranks[i]], lowFormat);
  });
  if (residual) inputs.residual = uniform(2, [M, widths[0]]);
  const isTrained = ([, { weight }]: [string, { weight?: WeightFormat }]) => !weight || weight === "f32";
  return {
    name: `adapted ${M}x${K}x(${widths}) ranks ${ranks} ${format}${
      lowFormat === "f32" ? "" : ` by ${lowFormat}`
    }${bias === "all" ? " biases" : bias ? " bias" : ""}${residual ? " residual" : ""}${
      rows === "few" ? " few" : ""
    }`,
    inputs,
    run: (operands) => {
      const { x, residual } = operands.tensors;
      const ys = adaptedLinears(x, layersOf(operands, sizes), { residual, rows });
      return ys.length === 1 ? ys : [tf.concat(ys, 1), ...ys];
    },
    twin: (arrays) => {
      const { ys } = forwardF64(arrays, sizes);
      return ys.length === 1 ? ys : [joinColumns(ys, widths, M), ...ys];
    },
    gradient: {
      wrt: Object.entries(inputs).filter(isTrained).map(([name]) => name),
      twin: (arrays, dy) => gradientF64(arrays, splitColumns(dy, widths, M), sizes),
    },
    tolerance: 1e-5,
    toleranceReason: "f32 sums over the width, the ranks and, in dx, all outputs",
    benchOnly,
  };
}

export const cases: OpCase[] = [
  adaptedCase(1, 1, [1], { ranks: [1] }),
  adaptedCase(7, 12, [8, 4, 4], { ranks: [3, 0, 5], bias: true }),
  adaptedCase(5, 35, [6], { ranks: [2], residual: true }),
  adaptedCase(33, 64, [64, 20], { ranks: [4, 4], rows: "few" }),
  adaptedCase(3, 24, [24, 13], { ranks: [6, 8], format: "bf16", lowFormat: "bf16", bias: true, rows: "few" }),
  adaptedCase(9, 256, [17], { ranks: [5], residual: true, bias: true }),
  adaptedCase(9, 260, [17, 5, 12], { ranks: [5, 3, 9] }),
  adaptedCase(19, 521, [20], { ranks: [17], residual: true }),
  adaptedCase(70, 516, [24, 12], { ranks: [16, 7], format: "f16", bias: true }),
  adaptedCase(2, 768, [33], { ranks: [8], lowFormat: "f16", residual: true, rows: "few" }),
  adaptedCase(3, 40, [24, 13, 9], { ranks: [3, 0, 2], rows: "few" }),
  adaptedCase(6, 40, [24, 13, 9], { ranks: [0, 0, 0], bias: "all", rows: "few" }),
  adaptedCase(5, 300, [8, 8, 8, 8], { ranks: [2, 2, 2, 2] }),
];
