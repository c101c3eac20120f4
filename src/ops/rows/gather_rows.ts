/** Picks the rows that are needed: the head runs on completion tokens only, a score on last tokens only. */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp, type Op } from "../../gpu/op.ts";
import { rowShares } from "../../gpu/grids.ts";

function gather(x: TensorInfo, rows: TensorInfo): TensorInfo {
  const [picked] = rows.shape;
  const columns = x.shape[1];
  const y = newTensor([picked, columns]);
  const { width, share, ...grid } = rowShares(picked, columns);
  runKernel({ kernel: "gather_rows", ...grid, bindings: { x, rows, y }, params: { picked, width, share } });
  return y;
}

const gatherRowsOp: Op<"x" | "rows" | "inverse", null> = defineOp<"x" | "rows" | "inverse", null>({
  name: "GrpoGatherRows",
  forward: ({ x, rows }) => gather(x, rows),
  saves: { inputs: ["rows", "inverse"] },
  gradient: (dy, [rows, inverse]) => ({
    // The gradient of picking is picking back: row n of dx is the row of dy that took it, or 0.
    x: () => gatherRowsOp({ x: dy as Tensor, rows: inverse, inverse: rows }, null)[0],
  }),
});

/**
 * y[m] = x[rows[m]], or 0 where rows[m] is -1.
 * @param x f32 [N,D]
 * @param rows i32 [M], no row twice
 * @param inverse i32 [N] of `inverseRows`
 * @returns f32 [M,D]
 */
export function gatherRows(x: Tensor, rows: Tensor, inverse: Tensor): Tensor {
  return gatherRowsOp({ x, rows, inverse }, null)[0];
}

/**
 * inverse[rows[m]] = m, -1 elsewhere.
 * @throws RangeError when a row is picked twice: its gradient would be lost.
 */
export function inverseRows(rows: ArrayLike<number>, count: number): Int32Array {
  const inverse = new Int32Array(count).fill(-1);
  for (let m = 0; m < rows.length; m++) {
    if (rows[m] < 0) continue;
    if (inverse[rows[m]] !== -1) {
      throw new RangeError(`Cannot gather row ${rows[m]} twice: each row may be picked once`);
    }
    inverse[rows[m]] = m;
  }
  return inverse;
}

/** Twin of gather_rows.wgsl. */
export function gatherRowsF64(x: ArrayLike<number>, rows: ArrayLike<number>, width: number): Float64Array {
  return Float64Array.from({ length: rows.length * width }, (_, i) => {
    const row = rows[Math.floor(i / width)];
    return row < 0 ? 0 : x[row * width + i % width];
  });
}
