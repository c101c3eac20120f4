import * as tf from "@tensorflow/tfjs";
import {
  linear,
  linearF64,
  linearGradF64,
  type LinearOptions,
  linears,
} from "../../../src/ops/linear/linear.ts";
import type { WeightFormat } from "../../../src/ops/weight/weight.ts";
import { bytesToF32, DTYPE_OF_FORMAT, f32ToBytes } from "../../../src/io/tensors/dtype.ts";
import { type CaseInput, type OpCase, uniform, uniformWeight } from "../case.ts";

/** A packed weight's values as an f32 tensor, which is what plain tfjs takes. */
function unpacked({ shape, values }: CaseInput, format: WeightFormat): CaseInput {
  const dtype = DTYPE_OF_FORMAT[format];
  const rounded = () => Float64Array.from(bytesToF32(f32ToBytes(Float32Array.from(values), dtype), dtype));
  return {
    shape,
    get values() {
      return rounded();
    },
  };
}

interface LinearCase {
  format?: WeightFormat;
  bias?: WeightFormat;
  residual?: boolean;
  rows?: LinearOptions["rows"];
  benchOnly?: boolean;
}

export function linearCase(M: number, K: number, N: number, options: LinearCase = {}): OpCase {
  const { format = "f32", bias, residual, rows = "many", benchOnly } = options;
  const weight = uniformWeight(2, [N, K], format);
  const isUnpacked = benchOnly && format !== "f32";
  const wrt = [
    "x",
    ...(residual ? ["residual"] : []),
    ...(format === "f32" ? ["w"] : []),
    ...(bias === "f32" ? ["bias"] : []),
  ];
  return {
    name: `linear ${M}x${K}x${N} ${format}${bias ? ` bias ${bias}` : ""}${residual ? " residual" : ""}${
      rows === "few" ? " few" : ""
    }`,
    inputs: {
      x: uniform(1, [M, K]),
      w: weight,
      ...(isUnpacked ? { unpacked: unpacked(weight, format) } : {}),
      ...(bias ? { bias: uniformWeight(3, [N], bias) } : {}),
      ...(residual ? { residual: uniform(4, [M, N]) } : {}),
    },
    run: ({ tensors, weights }) => [
      linear(tensors.x, weights.w, { bias: weights.bias, residual: tensors.residual, rows }),
    ],
    twin: ({ x, w, bias, residual }) => [linearF64(x, w, { M, K, N, bias, residual })],
    gradient: {
      wrt,
      twin: ({ x, w }, dy) => {
        const { dx, dw, db } = linearGradF64(x, w, dy, { M, K, N });
        return { x: dx, w: dw, bias: db, residual: dy };
      },
    },
    tolerance: 1e-5,
    toleranceReason: "f32 sums of up to 11008 terms",
    benchOnly,
    bench: {
      flops: 2 * M * K * N,
      bytes: 4 * (M * K + M * N) + (format === "f32" ? 4 : 2) * N * K,
      plainTfjs: ({ tensors, weights }) => {
        const y = tf.matMul(tensors.x, tensors.unpacked ?? weights.w.tensor, false, true);
        return [bias ? tf.add(y, weights.bias.tensor) : y];
      },
    },
  };
}

/** The outputs come side by side in one tensor first, so that the gradient of all of them is tested. */
export function linearsCase(M: number, K: number, widths: number[], options: LinearCase = {}): OpCase {
  const { format = "f32", bias, rows = "many" } = options;
  const names = widths.map((_, i) => `w${i}`);
  const biasNames = widths.map((_, i) => `bias${i}`).filter((_, i) => bias && i % 2 === 0);
  const inputs: OpCase["inputs"] = { x: uniform(1, [M, K]) };
  names.forEach((name, i) => inputs[name] = uniformWeight(2 + i, [widths[i], K], format));
  biasNames.forEach((name) => inputs[name] = uniformWeight(9, [widths[Number(name.slice(4))]], bias));
  return {
    name: `linears ${M}x${K}x(${widths}) ${format}${bias ? ` bias ${bias}` : ""}${
      rows === "few" ? " few" : ""
    }`,
    inputs,
    run: ({ tensors, weights }) => {
      const biases = names.map((_, i) => weights[`bias${i}`]);
      const ys = linears(tensors.x, names.map((name) => weights[name]), { biases, rows });
      return [tf.concat(ys, 1), ...ys];
    },
    twin: (arrays) => {
      const ys = widths.map((N, i) =>
        linearF64(arrays.x, arrays[`w${i}`], { M, K, N, bias: arrays[`bias${i}`] })
      );
      return [joinColumns(ys, widths, M), ...ys];
    },
    gradient: {
      wrt: ["x", ...(format === "f32" ? names : []), ...(bias === "f32" ? biasNames : [])],
      twin: (arrays, dy) => {
        const dys = splitColumns(dy, widths, M);
        const dx = new Float64Array(M * K);
        const grads: Record<string, ArrayLike<number>> = { x: dx };
        widths.forEach((N, i) => {
          const made = linearGradF64(arrays.x, arrays[`w${i}`], dys[i], { M, K, N });
          made.dx.forEach((value, at) => dx[at] += value);
          grads[`w${i}`] = made.dw;
          grads[`bias${i}`] = made.db;
        });
        return grads;
      },
    },
    tolerance: 1e-5,
    toleranceReason: "f32 sums over the width, and in dx over all outputs",
  };
}

/** Matrices of M rows side by side. */
export function joinColumns(parts: ArrayLike<number>[], widths: number[], M: number): Float64Array {
  const rows = Array.from(
    { length: M },
    (_, m) => parts.map((part, i) => Array.from({ length: widths[i] }, (_, n) => part[m * widths[i] + n])),
  );
  return Float64Array.from(rows.flat(2));
}

/** The matrices that joinColumns put side by side. */
export function splitColumns(joined: Float64Array, widths: number[], M: number): Float64Array[] {
  const all = widths.reduce((sum, width) => sum + width, 0);
  let first = 0;
  return widths.map((width) => {
    const begin = first;
    first += width;
    return Float64Array.from(
      { length: M * width },
      (_, at) => joined[Math.floor(at / width) * all + begin + at % width],
    );
  });
}

export const cases: OpCase[] = [
  linearCase(1, 1, 1),
  linearCase(3, 5, 7, { bias: "f32" }),
  linearCase(33, 65, 17),
  linearCase(33, 64, 17, { bias: "f32" }),
  linearCase(7, 12, 5, { rows: "few" }),
  linearCase(9, 12, 5, { rows: "few" }),
  linearCase(17, 36, 68, { bias: "f32" }),
  linearCase(40, 96, 72),
  linearCase(5, 96, 72, { bias: "f32", rows: "few" }),
  linearCase(1, 40, 33, { rows: "few" }),
  linearCase(2, 3, 5, { rows: "few" }),
  linearCase(1, 16, 70, { format: "bf16", bias: "f32", residual: true, rows: "few" }),
  linearCase(2, 36, 31, { bias: "f32", rows: "few" }),
  linearCase(4, 24, 129, { format: "f16", rows: "few" }),
  linearCase(19, 24, 20, { format: "bf16", bias: "bf16" }),
  linearCase(19, 24, 21, { format: "f16", bias: "f32" }),
  linearCase(7, 10, 6, { format: "bf16", bias: "f16" }),
  linearCase(7, 10, 6, { format: "f16" }),
  linearCase(3, 16, 40, { format: "bf16", bias: "f16", rows: "few" }),
  linearCase(3, 16, 40, { format: "f16", rows: "few" }),
  linearCase(17, 36, 68, { residual: true }),
  linearCase(9, 24, 21, { format: "f16", bias: "f32", residual: true }),
  linearCase(3, 40, 33, { bias: "f32", residual: true, rows: "few" }),
  linearCase(9, 5, 17, { bias: "f32", residual: true }),
  linearsCase(7, 12, [8, 4, 4], { bias: "f32" }),
  linearsCase(33, 64, [64, 20, 36]),
  linearsCase(5, 35, [6, 3], { bias: "f32" }),
  linearsCase(3, 24, [24, 13, 10], { format: "bf16", bias: "bf16", rows: "few" }),
  linearCase(2048, 96, 256, { benchOnly: true }),
  linearCase(2048, 256, 96, { benchOnly: true }),
  linearCase(512, 512, 512, { benchOnly: true }),
  linearCase(1024, 1024, 1024, { benchOnly: true }),
  linearCase(64, 96, 256, { benchOnly: true }),
  linearCase(4, 96, 256, { rows: "few", benchOnly: true }),
  linearCase(64, 64, 128, { rows: "few", benchOnly: true }),
  linearCase(32, 288, 768, { rows: "few", benchOnly: true }),
  linearCase(32, 288, 768, { rows: "few", format: "bf16", benchOnly: true }),
  linearCase(32, 288, 32000, { rows: "few", benchOnly: true }),
  linearCase(32, 288, 32000, { rows: "few", format: "bf16", benchOnly: true }),
  linearCase(1, 2048, 8192, { rows: "few", benchOnly: true }),
  linearCase(1, 2048, 8192, { rows: "few", format: "bf16", benchOnly: true }),
  linearCase(2048, 4096, 4096, { format: "bf16", benchOnly: true }),
];
