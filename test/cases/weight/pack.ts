import { packWeight, packWords, unpackWeight, unpackWords } from "../../../src/ops/weight/pack.ts";
import { type OpCase, randomFloats, uniformWeight } from "../case.ts";

/** Values of every magnitude that the format knows, halves between two of them, and both zeros. */
function awkward(count: number, format: "bf16" | "f16"): Float64Array {
  const spread = format === "f16" ? 30 : 60;
  const exponents = randomFloats(11, count, spread);
  return randomFloats(12, count).map((value, i) => {
    if (i % 7 === 0) return i % 2 ? 0 : -0;
    // 2^-9 and 2^-12 steps: exact ties of bf16 and f16.
    const steps = format === "bf16" ? 512 : 4096;
    const mantissa = i % 3 === 0 ? Math.round(value * steps) / steps : value;
    return Math.fround(mantissa * 2 ** Math.round(exponents[i]));
  }) as Float64Array;
}

export function packCase(rows: number, columns: number, format: "bf16" | "f16", benchOnly = false): OpCase {
  return {
    name: `pack ${format} ${rows}x${columns}`,
    inputs: {
      values: { shape: [rows, columns], values: awkward(rows * columns, format) },
      weight: uniformWeight(1, [rows, columns], format),
    },
    run: ({ tensors, weights }) => {
      packWeight(tensors.values, weights.weight);
      return [weights.weight.tensor.clone()];
    },
    twin: ({ values }) => [packWords(values, format)],
    tolerance: 0,
    toleranceReason: "rounding is defined to the bit",
    benchOnly,
    bench: { bytes: 6 * rows * columns },
  };
}

export function unpackCase(rows: number, columns: number, format: "bf16" | "f16", benchOnly = false): OpCase {
  return {
    name: `unpack ${format} ${rows}x${columns}`,
    inputs: { weight: uniformWeight(2, [rows, columns], format) },
    run: ({ weights }) => [unpackWeight(weights.weight)],
    twin: ({ weight }) => [unpackWords(packWords(weight, format), format)],
    tolerance: 0,
    toleranceReason: "every 16-bit value is an f32 value",
    benchOnly,
    bench: { bytes: 6 * rows * columns },
  };
}

export const cases: OpCase[] = [
  packCase(1, 2, "bf16"),
  packCase(37, 34, "bf16"),
  packCase(67, 70, "f16"),
  packCase(68, 70, "f16"),
  packCase(36, 34, "bf16"),
  unpackCase(1, 2, "f16"),
  unpackCase(37, 34, "bf16"),
  unpackCase(67, 70, "f16"),
  unpackCase(68, 70, "f16"),
  unpackCase(36, 34, "bf16"),
  packCase(2048, 2048, "bf16", true),
  unpackCase(2048, 2048, "bf16", true),
];
