import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { rope, ropeF64 } from "../../../src/ops/attention/rope.ts";
import { type RopeScaling, ropeTable } from "../../../src/ops/attention/rope_table.ts";
import { type OpCase, randomInts, uniform } from "../case.ts";

interface RopeShape {
  rows: number;
  heads: number;
  headDim: number;
  /** Values of a head that turn; all unless given. */
  rotated?: number;
  positions: number;
  scaling?: RopeScaling;
  benchOnly?: boolean;
}

const LLAMA3: RopeScaling = {
  type: "llama3",
  factor: 8,
  lowFreqFactor: 1,
  highFreqFactor: 4,
  originalMaxPositions: 8192,
};

/** x cos + rotate_half(x) sin, as Hugging Face writes it. */
function plainRope({ rows, heads, headDim }: RopeShape, tensors: Record<string, Tensor>): Tensor {
  const half = headDim / 2;
  const x = tf.reshape(tensors.x, [rows, heads, headDim]);
  const rowsOf = (table: Tensor) =>
    tf.reshape(tf.tile(tf.gather(table, tensors.positions as never), [1, 2]), [rows, 1, headDim]);
  const swapped = tf.concat([
    tf.neg(tf.slice(x, [0, 0, half], [-1, -1, half])),
    tf.slice(x, [0, 0, 0], [-1, -1, half]),
  ], -1);
  return tf.reshape(tf.add(tf.mul(x, rowsOf(tensors.cos)), tf.mul(swapped, rowsOf(tensors.sin))), [
    rows,
    heads * headDim,
  ]);
}

function ropeCase(shape: RopeShape): OpCase {
  const { rows, heads, headDim, rotated = headDim, positions, scaling, benchOnly } = shape;
  const table = ropeTable(positions, rotated, 10000, scaling);
  const half = rotated / 2;
  // The last position there is, and one past it, which takes the last's angles.
  const places = randomInts(2, rows, positions).map((place, n) => [positions - 1, positions + 5][n] ?? place);
  const within = (places: ArrayLike<number>) => Int32Array.from(places, (t) => Math.min(t, positions - 1));
  return {
    name: `rope ${rows}x${heads}x${headDim}${rotated < headDim ? ` of which ${rotated}` : ""}${
      scaling ? ` ${scaling.type}` : ""
    }`,
    inputs: {
      x: uniform(1, [rows, heads * headDim], 2),
      positions: { shape: [rows], values: places },
      cos: { shape: table.shape, values: Float64Array.from(table.cos) },
      sin: { shape: table.shape, values: Float64Array.from(table.sin) },
    },
    run: ({ tensors }) => [
      rope(tensors.x, tensors.positions, { cos: tensors.cos, sin: tensors.sin }, { headDim }),
    ],
    twin: ({ x, positions, cos, sin }) => [ropeF64(x, within(positions), { cos, sin, half }, headDim)],
    gradient: {
      wrt: ["x"],
      twin: ({ positions, cos, sin }, dy) => ({
        x: ropeF64(dy, within(positions), { cos, sin, half }, headDim, -1),
      }),
    },
    tolerance: 1e-6,
    toleranceReason: "two products and a sum in f32",
    benchOnly,
    bench: {
      flops: 3 * rows * heads * headDim,
      bytes: 2 * rows * heads * headDim * 4,
      plainTfjs: ({ tensors }) => [plainRope(shape, tensors)],
    },
  };
}

export const cases: OpCase[] = [
  ropeCase({ rows: 1, heads: 1, headDim: 4, positions: 3 }),
  ropeCase({ rows: 37, heads: 3, headDim: 12, positions: 50 }),
  ropeCase({ rows: 13, heads: 9, headDim: 8, positions: 20 }),
  ropeCase({ rows: 13, heads: 5, headDim: 16, rotated: 12, positions: 20 }),
  ropeCase({ rows: 5, heads: 2, headDim: 20, rotated: 4, positions: 20 }),
  ropeCase({ rows: 9, heads: 2, headDim: 80, positions: 2000, scaling: { type: "linear", factor: 4 } }),
  ropeCase({ rows: 11, heads: 1, headDim: 128, positions: 9000, scaling: LLAMA3 }),
  ropeCase({ rows: 2048, heads: 4, headDim: 16, positions: 64, benchOnly: true }),
  ropeCase({ rows: 1024, heads: 8, headDim: 64, positions: 1024, benchOnly: true }),
];
