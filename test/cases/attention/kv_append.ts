import { DTYPE_OF_FORMAT, f32ToBytes } from "../../../src/io/tensors/dtype.ts";
import { kvAppend, kvAppendF64 } from "../../../src/ops/attention/kv_append.ts";
import type { WeightFormat } from "../../../src/ops/weight/weight.ts";
import { type CaseInput, type OpCase, randomFloats, uniform, uniformWeight } from "../case.ts";

interface AppendShape {
  width: number;
  blockShift: number;
  blocks: number;
  /** Row of the table and position in it of each token. */
  tokens: [owner: number, position: number][];
  /** Rows of the block table. */
  table: number[][];
  format?: WeightFormat;
  benchOnly?: boolean;
}

/** Twin outputs as a kernel stores them: packed pools as their i32 words, within the range of f16. */
function stored(values: Float64Array, format: WeightFormat): ArrayLike<number> {
  if (format === "f32") return values;
  const most = format === "f16" ? 65504 : Infinity;
  const kept = Float32Array.from(values, (value) => Math.min(most, Math.max(-most, value)));
  return new Int32Array(f32ToBytes(kept, DTYPE_OF_FORMAT[format]).slice().buffer);
}

/**
 * Values that f16 holds exactly, as WGSL leaves open which way pack2x16float rounds: multiples of 2^-9 in [-1, 1); and
 * first two beyond its range.
 */
function freshValues(seed: number, shape: number[], format: WeightFormat): CaseInput {
  if (format !== "f16") return uniform(seed, shape);
  const count = shape.reduce((a, b) => a * b, 1);
  const values = randomFloats(seed, count).map((value) => Math.round(value * 512) / 512);
  values.set([1e6, -70_000]);
  return { shape, values };
}

function kvAppendCase(shape: AppendShape): OpCase {
  const { width, blockShift, blocks, tokens, table, format = "f32", benchOnly } = shape;
  const poolShape = [blocks, 2 ** blockShift, width];
  const pool = (seed: number) =>
    format === "f32" ? uniform(seed, poolShape) : uniformWeight(seed, poolShape, format);
  const columns = table[0].length;
  const i32 = (shape: number[], values: number[]) => ({ shape, values: Int32Array.from(values) });
  return {
    name: `kv_append ${tokens.length} tokens of ${width} into ${blocks} blocks of ${
      2 ** blockShift
    }, ${format}`,
    inputs: {
      kPool: pool(1),
      vPool: pool(2),
      k: freshValues(3, [tokens.length, width], format),
      v: freshValues(4, [tokens.length, width], format),
      owners: i32([tokens.length], tokens.map(([owner]) => owner)),
      positions: i32([tokens.length], tokens.map(([, position]) => position)),
      table: i32([table.length, columns], table.flat()),
    },
    run: ({ tensors, weights }) => {
      const { k, v, owners, positions, table } = tensors;
      const pools = format === "f32" ? tensors : { kPool: weights.kPool.tensor, vPool: weights.vPool.tensor };
      kvAppend(
        { k: pools.kPool, v: pools.vPool, format },
        { k, v, owners, positions },
        { table, blockShift },
      );
      return [pools.kPool, pools.vPool];
    },
    twin: ({ kPool, vPool, k, v, owners, positions, table }) => {
      const append = (pool: ArrayLike<number>, values: ArrayLike<number>) =>
        stored(
          kvAppendF64(
            pool,
            { values, owners, positions },
            { values: table, columns, blockShift },
            width,
          ),
          format,
        );
      return [append(kPool, k), append(vPool, v)];
    },
    tolerance: 0,
    toleranceReason: "a copy, or one rounding to nearest even, within the range of f16",
    benchOnly,
    bench: { bytes: 2 * tokens.length * width * (4 + (format === "f32" ? 4 : 2)) },
  };
}

/** One token at `position` for each of `rows` rows of their own blocks. */
function decodeStep(rows: number, position: number, blockShift: number) {
  const perRow = 1 + (position >> blockShift);
  return {
    blockShift,
    blocks: rows * perRow,
    tokens: Array.from({ length: rows }, (_, r): [number, number] => [r, position]),
    table: Array.from(
      { length: rows },
      (_, r) => [0, ...Array.from({ length: perRow }, (_, b) => r * perRow + b)],
    ),
  };
}

// Two prompts and a retired row; a token of nobody, one before and two past what the table holds.
const PREFILL = {
  blocks: 6,
  blockShift: 2,
  table: [[3, 5, 0, -1], [0, 2, 4, 1], [-1, -1, -1, -1]],
  tokens: [[0, 0], [0, 1], [0, 4], [1, 0], [1, 11], [1, 5], [-1, 0], [2, 0], [1, -1], [1, 12], [0, 9], [
    0,
    2,
  ]],
} satisfies Partial<AppendShape>;

export const cases: OpCase[] = [
  kvAppendCase({ width: 4, blockShift: 1, blocks: 1, tokens: [[0, 1]], table: [[0, 0]] }),
  kvAppendCase({ ...PREFILL, width: 12 } as AppendShape),
  kvAppendCase({ ...PREFILL, width: 12, format: "bf16" } as AppendShape),
  kvAppendCase({ ...PREFILL, width: 20, format: "f16" } as AppendShape),
  kvAppendCase({ ...decodeStep(33, 31, 4), width: 16 }),
  kvAppendCase({ ...decodeStep(64, 31, 4), width: 64, benchOnly: true }),
  kvAppendCase({ ...decodeStep(60, 200, 4), width: 1024, benchOnly: true }),
  kvAppendCase({ ...decodeStep(60, 200, 4), width: 1024, format: "f16", benchOnly: true }),
];
