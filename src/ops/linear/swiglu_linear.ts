/** The first half of Llama's MLP, silu(x gate^T) * (x up^T), in one kernel: for passes without gradient. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp, isTapeOn } from "../../gpu/op.ts";
import { matmulPrecision } from "../../gpu/precision.ts";
import type { Window } from "../../gpu/windows.ts";
import { swiglu, swigluF64 } from "../elementwise/swiglu.ts";
import { FORMAT_CODE, type Weight } from "../weight/weight.ts";
import { chooseLinear, type LayerSizes, type LinearChoice, productSize, tileGrid } from "./choice.ts";
import { bindColumns, bindRows, weightWindows } from "./dispatch.ts";
import { linearF64, type LinearOptions, linears } from "./linear.ts";

interface SwigluLinearAttrs {
  gate: Weight;
  up: Weight;
  choice: LinearChoice;
}

function runWindow(x: TensorInfo, attrs: SwigluLinearAttrs, y: TensorInfo, window: Window): void {
  const { gate, up, choice } = attrs;
  const [stride, width] = gate.shape;
  const sizes = { rows: x.shape[0], columns: window.count };
  runKernel({
    kernel: choice.kernel,
    constants: { ...choice.constants, FORMAT: FORMAT_CODE[gate.format] },
    bindings: {
      x,
      gate: bindRows(gate, window),
      up: bindRows(up, window),
      y: bindColumns({ tensor: y }, window),
    },
    params: { ...sizes, width, stride },
    workgroups: tileGrid(choice, sizes),
  });
}

const swigluLinearOp = defineOp<"x", SwigluLinearAttrs>({
  name: "GrpoSwigluLinear",
  forward({ x }, attrs) {
    const y = newTensor([x.shape[0], attrs.gate.shape[0]]);
    for (const window of weightWindows(attrs.gate)) runWindow(x, attrs, y, window);
    return y;
  },
});

/**
 * y[m,n] = silu(sum_k x[m,k] gate[n,k]) sum_k x[m,k] up[n,k], with the bits of
 * `swiglu(linear(x, gate), linear(x, up))`, which it is where one kernel for all would not be the faster way. Forward
 * only.
 * @param x f32 [M,K]
 * @param gate [N,K]
 * @param up [N,K]
 * @returns f32 [M,N]
 * @throws RangeError when the shapes do not fit
 * @throws Error when a tape is on, on every device alike
 */
export function swigluLinear(
  x: Tensor,
  gate: Weight,
  up: Weight,
  options: Pick<LinearOptions, "rows"> = {},
): Tensor {
  if (isTapeOn()) {
    throw new Error(
      "Cannot differentiate swigluLinear: it keeps neither product; " +
        "use swiglu(linear(x, gate), linear(x, up)) under a tape",
    );
  }
  const [N, K] = gate.shape;
  if (x.rank !== 2 || x.shape[1] !== K || up.shape[0] !== N || up.shape[1] !== K) {
    throw new RangeError(
      `Cannot apply "${gate.name}" [${gate.shape}] and "${up.name}" [${up.shape}] to [${x.shape}]: ` +
        `need weights of one shape [N,K] and [rows,K]`,
    );
  }
  const choice = chooseLinear({
    ...productSize("swiglu", { M: x.shape[0], K, N }),
    format: gate.format,
    upFormat: up.format,
    rowCount: options.rows,
    precision: matmulPrecision(),
  });
  if (choice.product !== "swiglu") {
    return tf.tidy(() => {
      const [gates, ups] = linears(x, [gate, up], options);
      return swiglu(gates, ups);
    });
  }
  return swigluLinearOp({ x }, { gate, up, choice })[0];
}

/** Twin of swiglu_linear.wgsl in f64. @returns y [M,N] */
export function swigluLinearF64(
  x: ArrayLike<number>,
  gate: ArrayLike<number>,
  up: ArrayLike<number>,
  sizes: LayerSizes,
): Float64Array {
  return swigluF64(linearF64(x, gate, sizes), linearF64(x, up, sizes));
}
