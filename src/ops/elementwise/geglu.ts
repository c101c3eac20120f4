/** GEGLU activation (arXiv:2002.05202) with the tanh form of GELU (arXiv:1606.08415), as in Gemma. */
import { defineGated } from "./gated.ts";

/** gelu(gate) * up, element by element. @param gate f32 [N,F] @param up f32 [N,F] @returns f32 [N,F] */
export const geglu = defineGated({ name: "GrpoGeglu", kernel: "geglu", gradKernel: "geglu_grad" });

const SLOPE = Math.sqrt(2 / Math.PI);
const CUBIC = 0.044715;

/** Twin of geglu.wgsl: gelu(g) = g/2 (1 + tanh(u)). */
export function gegluF64(gate: ArrayLike<number>, up: ArrayLike<number>): Float64Array {
  return Float64Array.from(gate, (g, i) => 0.5 * g * (1 + Math.tanh(SLOPE * (g + CUBIC * g ** 3))) * up[i]);
}

/** Twin of geglu_grad.wgsl. */
export function gegluGradF64(gate: ArrayLike<number>, up: ArrayLike<number>, dy: ArrayLike<number>) {
  const tanh = Float64Array.from(gate, (g) => Math.tanh(SLOPE * (g + CUBIC * g ** 3)));
  const slope = (g: number, t: number) =>
    0.5 * (1 + t) + 0.5 * g * (1 - t * t) * SLOPE * (1 + 3 * CUBIC * g * g);
  return {
    dgate: tanh.map((t, i) => dy[i] * up[i] * slope(gate[i], t)),
    dup: tanh.map((t, i) => dy[i] * 0.5 * gate[i] * (1 + t)),
  };
}
