/** SwiGLU activation (arXiv:2002.05202). */
import { defineGated } from "./gated.ts";

/** silu(gate) * up, element by element. @param gate f32 [N,F] @param up f32 [N,F] @returns f32 [N,F] */
export const swiglu = defineGated({ name: "GrpoSwiglu", kernel: "swiglu", gradKernel: "swiglu_grad" });

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
