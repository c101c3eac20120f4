import * as tf from "@tensorflow/tfjs";
import { rowShiftsF64, runRowShifts } from "../../../src/ops/linear/matrix_units.ts";
import type { WeightFormat } from "../../../src/ops/weight/weight.ts";
import { type OpCase, randomInts, uniform, uniformWeight } from "../case.ts";

/** Rows of very different sizes: from 2^-120 to 2^120 where the format holds that, and a row of zeros. */
function rowShiftsCase(M: number, K: number, format: WeightFormat = "f32"): OpCase {
  const name = `row_shifts ${M}x${K} ${format}`;
  const input = format === "f32" ? uniform(1, [M, K]) : uniformWeight(1, [M, K], format);
  const span = format === "f16" ? 10 : 120;
  const values = input.values.map((value, i) => {
    const m = Math.floor(i / K);
    return m % 7 === 3 ? 0 : Math.fround(value * 2 ** ((m * 37) % (2 * span) - span));
  });
  const a = { shape: input.shape, weight: input.weight, values: Float64Array.from(values) };
  return {
    name,
    inputs: { a },
    run: ({ tensors, weights }) => {
      const tensor = format === "f32" ? tensors.a : weights.a.tensor;
      return [
        tf.engine().makeTensorFromTensorInfo(runRowShifts({ matrix: { tensor }, format, rows: M, width: K })),
      ];
    },
    twin: ({ a }) => [rowShiftsF64(a, M, K)],
    tolerance: 0,
    toleranceReason: "exact",
    bench: { bytes: (format === "f32" ? 4 : 2) * M * K },
  };
}

/** Columns of [M,S] that go the other way by shifts of their own; what lies beyond them does not count. */
function columnsCase(M: number, K: number, S: number): OpCase {
  const a = uniform(1, [M, S]);
  const values = a.values.map((value, i) => i % S < K ? value : 1e30);
  const columns = { shape: [K], values: randomInts(2, K, 253).map((shift) => shift - 126) };
  return {
    name: `row_shifts ${M}x${K} of ${M}x${S}, with shifts of the columns`,
    inputs: { a: { shape: a.shape, values: Float64Array.from(values) }, columns },
    run: ({ tensors }) => {
      const sizes = { rows: M, width: K, stride: S };
      const shifts = runRowShifts({
        matrix: { tensor: tensors.a },
        format: "f32",
        columns: tensors.columns,
        ...sizes,
      });
      return [tf.engine().makeTensorFromTensorInfo(shifts)];
    },
    twin: ({ a, columns }) => {
      const counted = Array.from({ length: M }, (_, m) => [...a.slice(m * S, m * S + K)]).flat();
      return [rowShiftsF64(counted, M, K, columns)];
    },
    tolerance: 0,
    toleranceReason: "exact",
  };
}

export const cases: OpCase[] = [
  rowShiftsCase(1, 4),
  rowShiftsCase(29, 260),
  rowShiftsCase(17, 1032),
  rowShiftsCase(19, 8, "bf16"),
  rowShiftsCase(23, 264, "bf16"),
  rowShiftsCase(23, 264, "f16"),
  rowShiftsCase(65_539, 4),
  columnsCase(5, 33, 36),
  columnsCase(1, 1, 4),
  columnsCase(40, 300, 300),
  { ...rowShiftsCase(4096, 4096, "bf16"), benchOnly: true },
  { ...rowShiftsCase(2048, 4096), benchOnly: true },
];
