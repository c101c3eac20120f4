/** The residual connection. A stock tfjs op could not be replayed in a plan. */
import type { Tensor } from "@tensorflow/tfjs";
import { foldGrid, newTensor, runKernel, u32 } from "../gpu/bridge.ts";
import { defineOp } from "../gpu/op.ts";

const addOp = defineOp<"a" | "b", null>({
  name: "GrpoAdd",
  forward({ a, b }) {
    const y = newTensor(a.shape);
    const count = a.shape[0] * a.shape[1];
    runKernel({
      kernel: "add",
      bindings: [{ tensor: a }, { tensor: b }, { tensor: y, written: true }],
      params: [u32(count)],
      workgroups: foldGrid(Math.ceil(count / 256)),
    });
    return y;
  },
  gradient: (dy) => ({ a: () => (dy as Tensor).clone(), b: () => (dy as Tensor).clone() }),
});

/** a + b of one shape. @param a f32 [N,D] @param b f32 [N,D] @returns f32 [N,D] */
export function add(a: Tensor, b: Tensor): Tensor {
  return addOp({ a, b }, null)[0];
}

/** Twin of add.wgsl. */
export function addF64(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  return Float64Array.from(a, (value, i) => value + b[i]);
}
