/** The first half of Llama's MLP, silu(x gate^T) * (x up^T), in one kernel: for passes without gradient. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { hasSimd8 } from "../../gpu/device_facts.ts";
import { type KernelCall, runKernel, u32 } from "../../gpu/dispatch.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import { matmulPrecision } from "../../gpu/precision.ts";
import type { Window } from "../../gpu/windows.ts";
import { linear, linearF64, type LinearOptions } from "./linear.ts";
import { bindColumns, bindRows, isFew, isVectored, lanes, TILED, weightWindows } from "./dispatch.ts";
import { matmulTile } from "./choice.ts";
import { swiglu, swigluF64 } from "../elementwise/swiglu.ts";
import { FORMAT_CODE, type Weight } from "../weight/weight.ts";

interface SwigluLinearAttrs {
  gate: Weight;
  up: Weight;
}

/** Kernel, lanes and grid of [rows, columns] outputs; both variants give the same bits. */
function variant(
  columns: number,
  rows: number,
): Pick<KernelCall, "kernel" | "constants" | "workgroups"> {
  const kernel = "swiglu_linear";
  const tile = (width: number, height: number): [number, number, number] => [
    Math.ceil(columns / width),
    Math.ceil(rows / height),
    1,
  ];
  if (hasSimd8()) {
    const tileRows = rows <= 8 ? 8 : 16;
    return { kernel: `${kernel}_simd8`, constants: { TILE_ROWS: tileRows }, workgroups: tile(16, tileRows) };
  }
  const { WG_X, WG_Y } = lanes();
  return { kernel, constants: { WG_X, WG_Y }, workgroups: tile(4 * WG_X, 8 * WG_Y) };
}

function runWindow(x: TensorInfo, { gate, up }: SwigluLinearAttrs, y: TensorInfo, window: Window): void {
  const [N, K] = gate.shape;
  const rows = x.shape[0];
  const { kernel, constants, workgroups } = variant(window.count, rows);
  runKernel({
    kernel,
    constants: { ...constants, FORMAT: FORMAT_CODE[gate.format] },
    bindings: [
      { tensor: x },
      bindRows(gate, window),
      bindRows(up, window),
      { ...bindColumns({ tensor: y }, window), written: true },
    ],
    params: [u32(rows), u32(K), u32(window.count), u32(N)],
    workgroups,
  });
}

const swigluLinearOp = defineOp<"x", SwigluLinearAttrs>({
  name: "GrpoSwigluLinear",
  forward({ x }, attrs) {
    const y = newTensor([x.shape[0], attrs.gate.shape[0]]);
    for (const window of weightWindows(attrs.gate)) runWindow(x, attrs, y, window);
    return y;
  },
  gradient() {
    throw new Error(
      "Cannot differentiate swigluLinear: it keeps neither product; use swiglu(linear(x, gate), linear(x, up)) under a tape",
    );
  },
});

/**
 * y[m,n] = silu(sum_k x[m,k] gate[n,k]) sum_k x[m,k] up[n,k], with the bits of `swiglu(linear(x, gate), linear(x, up))`,
 * which it is where one kernel for all would not be the faster way. Forward only.
 * @param x f32 [M,K]
 * @param gate [N,K]
 * @param up [N,K]
 * @returns f32 [M,N]
 * @throws RangeError when the shapes do not fit
 */
export function swigluLinear(
  x: Tensor,
  gate: Weight,
  up: Weight,
  options: Pick<LinearOptions, "rows"> = {},
): Tensor {
  const [N, K] = gate.shape;
  if (x.rank !== 2 || x.shape[1] !== K || up.shape[0] !== N || up.shape[1] !== K) {
    throw new RangeError(
      `Cannot apply "${gate.name}" [${gate.shape}] and "${up.name}" [${up.shape}] to [${x.shape}]: ` +
        `need weights of one shape [N,K] and [rows,K]`,
    );
  }
  const rows = x.shape[0];
  const few = options.rows === "few" && isFew(rows);
  // Workgroup memory and matrix units are worth more than the one kernel.
  const size = { kernel: TILED.output, format: gate.format, rows, columns: N, summed: K };
  const isElsewhere = matmulPrecision() === "float16" || matmulTile(size) !== null;
  if (few || isElsewhere || gate.format !== up.format || !isVectored(gate)) {
    return tf.tidy(() => swiglu(linear(x, gate, options), linear(x, up, options)));
  }
  return swigluLinearOp({ x }, { gate, up })[0];
}

/** Twin of swiglu_linear.wgsl in f64. @returns y [M,N] */
export function swigluLinearF64(
  x: ArrayLike<number>,
  gate: ArrayLike<number>,
  up: ArrayLike<number>,
  M: number,
  K: number,
  N: number,
): Float64Array {
  return swigluF64(linearF64(x, gate, null, M, K, N), linearF64(x, up, null, M, K, N));
}
