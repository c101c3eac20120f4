/** Columns of a matrix as matrices of their own: what one linear layer makes of several, as Phi-3 stores them. */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp, type Op } from "../../gpu/op.ts";

const WG = 64;

interface ColumnsAttrs {
  widths: readonly number[];
}

/** Name of a part. */
type Part = `y${number}`;

/** Columns of one matrix that are copied into another. */
interface ColumnBlock {
  width: number;
  from: number;
  to: number;
}

function copyColumns(x: TensorInfo, y: TensorInfo, { width, from, to }: ColumnBlock): void {
  const [rows] = x.shape;
  const [xWidth, yWidth] = [x.shape[1], y.shape[1]];
  const VEC4 = [width, from, to, xWidth, yWidth].every((columns) => columns % 4 === 0);
  const units = (columns: number) => VEC4 ? columns / 4 : columns;
  const count = rows * units(width);
  runKernel({
    kernel: "columns",
    conditions: { VEC4 },
    constants: { WG },
    bindings: { x, y },
    params: {
      count,
      width: units(width),
      x_width: units(xWidth),
      y_width: units(yWidth),
      x_first: units(from),
      y_first: units(to),
    },
    workgroups: foldGrid(Math.ceil(count / WG)),
  });
}

/** The first column of each part. */
const firstColumns = (widths: readonly number[]) =>
  widths.map((_, i) => widths.slice(0, i).reduce((sum, width) => sum + width, 0));

const splitOp: Op<"x", ColumnsAttrs> = defineOp<"x", ColumnsAttrs>({
  name: "GrpoSplitColumns",
  forward({ x }, { widths }) {
    const firsts = firstColumns(widths);
    return widths.map((width, i) => {
      const y = newTensor([x.shape[0], width]);
      copyColumns(x, y, { width, from: firsts[i], to: 0 });
      return y;
    });
  },
  gradient(dy, _saved, attrs) {
    const dys = [dy].flat().map((each, i) => [`y${i}`, each] as const);
    return { x: () => joinOp(Object.fromEntries(dys), attrs)[0] };
  },
});

const joinOp = defineOp<Part, ColumnsAttrs>({
  name: "GrpoSplitColumnsGrad",
  forward(parts, { widths }) {
    const firsts = firstColumns(widths);
    const joined = newTensor([parts.y0.shape[0], firsts[widths.length - 1] + widths[widths.length - 1]]);
    widths.forEach((width, i) => copyColumns(parts[`y${i}`], joined, { width, from: 0, to: firsts[i] }));
    return joined;
  },
});

/**
 * y_i[n,c] = x[n, first_i + c]: columns side by side, each as a matrix of its own.
 * @param x f32 [N,C]
 * @param widths columns of each part
 * @returns f32 [N, widths[i]], one for each part
 * @throws RangeError when the widths do not add up to x's
 */
export function splitColumns(x: Tensor, widths: readonly number[]): Tensor[] {
  const total = widths.reduce((sum, width) => sum + width, 0);
  if (x.rank !== 2 || total !== x.shape[1] || widths.some((width) => width < 1)) {
    throw new RangeError(
      `Cannot split [${x.shape}] into columns [${widths}]: need widths that add up to x's`,
    );
  }
  return splitOp({ x }, { widths });
}

/** Twin of columns.wgsl, as `splitColumns` runs it. */
export function splitColumnsF64(x: ArrayLike<number>, widths: readonly number[]): Float64Array[] {
  const total = widths.reduce((sum, width) => sum + width, 0);
  const firsts = firstColumns(widths);
  return widths.map((width, i) =>
    Float64Array.from(
      { length: x.length / total * width },
      (_, at) => x[Math.floor(at / width) * total + firsts[i] + at % width],
    )
  );
}

/** Twin of its gradient. @returns [N,C] */
export function joinColumnsF64(parts: readonly ArrayLike<number>[], widths: readonly number[]): Float64Array {
  const total = widths.reduce((sum, width) => sum + width, 0);
  const firsts = firstColumns(widths);
  const joined = new Float64Array(parts[0].length / widths[0] * total);
  parts.forEach((part, i) => {
    for (let at = 0; at < part.length; at++) {
      joined[Math.floor(at / widths[i]) * total + firsts[i] + at % widths[i]] = part[at];
    }
  });
  return joined;
}
