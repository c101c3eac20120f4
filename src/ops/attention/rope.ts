/** Rotary position embedding (arXiv:2104.09864) in the layout of Hugging Face's Llama. */
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";

const WG = 64;
/** That one lane rotates, as in the kernels. */
const HEADS_PER_LANE = 4;

/** Lanes over the heads of a row, for each two pairs of a head. */
export const headUnits = (heads: number) => Math.ceil(heads / HEADS_PER_LANE);

/** cos and sin of every position, f32 [P, R/2] each, of the first R values of a head: all, or those that turn. */
export interface RopeTable {
  cos: Tensor;
  sin: Tensor;
}

interface RopeAttrs {
  headDim: number;
  inverse: boolean;
}

type RopeInput = "x" | "positions" | "cos" | "sin";

const ropeOp = defineOp<RopeInput, RopeAttrs>({
  name: "GrpoRope",
  forward({ x, positions, cos, sin }, { headDim, inverse }) {
    const [rows, width] = x.shape;
    const y = newTensor([rows, width]);
    const count = rows * headUnits(width / headDim) * headDim / 4;
    runKernel({
      kernel: "rope",
      constants: { WG },
      bindings: { x, positions, cosines: cos, sines: sin, y },
      params: {
        count,
        heads: width / headDim,
        quarter: headDim / 4,
        part: cos.shape[1]! / 2,
        last_position: cos.shape[0] - 1,
        sign: inverse ? -1 : 1,
      },
      workgroups: foldGrid(Math.ceil(count / WG)),
    });
    return y;
  },
  saves: { inputs: ["positions", "cos", "sin"] },
  gradient(dy, [positions, cos, sin], { headDim, inverse }) {
    return { x: () => rotate(dy as Tensor, positions, { cos, sin }, { headDim, inverse: !inverse }) };
  },
});

function rotate(x: Tensor, positions: Tensor, { cos, sin }: RopeTable, attrs: RopeAttrs): Tensor {
  return ropeOp({ x, positions, cos, sin }, attrs)[0];
}

/** Whether a table is for heads of `headDim`, or for the first part of them. */
export const fitsHeads = ({ cos: { shape: [, half] } }: RopeTable, headDim: number) =>
  headDim % 4 === 0 && half! % 2 === 0 && 2 * half! <= headDim;

/**
 * Rotates pairs (c, c + headDim/2) of every head by the angle of the row's position. A table [P, R/2] for fewer values
 * turns the first R of every head, in pairs (c, c + R/2), and leaves the others.
 * A position past the table's end takes its last row.
 * @param x f32 [N, heads*headDim]
 * @param positions i32 [N], each >= 0
 * @returns f32 [N, heads*headDim]
 * @throws RangeError when the widths do not fit together
 */
export function rope(x: Tensor, positions: Tensor, table: RopeTable, options: { headDim: number }): Tensor {
  const { headDim } = options;
  const [rows, width] = x.shape;
  if (!fitsHeads(table, headDim) || width % headDim || positions.size !== rows) {
    throw new RangeError(
      `Cannot rotate x [${x.shape}] by positions [${positions.shape}] and a table [${table.cos.shape}]: need headDim ` +
        `(${headDim}) a multiple of 4, x [N, heads*headDim], positions [N] and a table [P, headDim/2], or one of ` +
        "fewer columns, an even number",
    );
  }
  return rotate(x, positions, table, { headDim, inverse: false });
}

/** Twin of rope.wgsl in f64. @param sign 1, or -1 for the gradient. @returns y [N, heads*headDim] */
export function ropeF64(
  x: ArrayLike<number>,
  positions: ArrayLike<number>,
  table: { cos: ArrayLike<number>; sin: ArrayLike<number>; half?: number },
  headDim: number,
  sign = 1,
): Float64Array {
  const { half = headDim / 2 } = table;
  const width = x.length / positions.length;
  const y = Float64Array.from(x);
  for (let base = 0; base < x.length; base += headDim) {
    const position = positions[Math.floor(base / width)];
    for (let c = 0; c < half; c++) {
      const cos = table.cos[position * half + c];
      const sin = table.sin[position * half + c] * sign;
      y[base + c] = x[base + c] * cos - x[base + half + c] * sin;
      y[base + half + c] = x[base + half + c] * cos + x[base + c] * sin;
    }
  }
  return y;
}
