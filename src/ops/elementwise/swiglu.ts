/** SwiGLU activation (arXiv:2002.05202). */
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp, jointGradients } from "../../gpu/op.ts";
import { flatGrid } from "../../gpu/grids.ts";

const swigluOp = defineOp<"gate" | "up", null>({
  name: "GrpoSwiglu",
  forward({ gate, up }) {
    const y = newTensor(gate.shape);
    const { count, ...grid } = flatGrid(gate.shape[0] * gate.shape[1]);
    runKernel({ kernel: "swiglu", ...grid, bindings: { gate, up, y }, params: { count } });
    return y;
  },
  saves: { inputs: ["gate", "up"] },
  gradient(dy, [gate, up]) {
    return jointGradients(["gate", "up"], swigluGradOp({ gate, up, dy: dy as Tensor }, null));
  },
});

const swigluGradOp = defineOp<"gate" | "up" | "dy", null>({
  name: "GrpoSwigluGrad",
  forward({ gate, up, dy }) {
    const dgate = newTensor(gate.shape);
    const dup = newTensor(gate.shape);
    const { count, ...grid } = flatGrid(gate.shape[0] * gate.shape[1]);
    runKernel({ kernel: "swiglu_grad", ...grid, bindings: { gate, up, dy, dgate, dup }, params: { count } });
    return [dgate, dup];
  },
});

/** silu(gate) * up, element by element. @param gate f32 [N,F] @param up f32 [N,F] @returns f32 [N,F] */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  return swigluOp({ gate, up }, null)[0];
}

/** Twin of swiglu.wgsl. */
export function swigluF64(gate: ArrayLike<number>, up: ArrayLike<number>): Float64Array {
  return Float64Array.from(gate, (g, i) => g / (1 + Math.exp(-g)) * up[i]);
}

/** Twin of swiglu_grad.wgsl. */
export function swigluGradF64(gate: ArrayLike<number>, up: ArrayLike<number>, dy: ArrayLike<number>) {
  const sigmoid = Float64Array.from(gate, (g) => 1 / (1 + Math.exp(-g)));
  return {
    dgate: sigmoid.map((s, i) => dy[i] * up[i] * s * (1 + gate[i] * (1 - s))),
    dup: sigmoid.map((s, i) => dy[i] * gate[i] * s),
  };
}
