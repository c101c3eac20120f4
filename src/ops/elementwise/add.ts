/** The residual connection, and the scaled term of an adapter. A stock tfjs op could not be replayed in a plan. */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import { flatGrid } from "../../gpu/grids.ts";

interface AddAttrs {
  /** Factor of b. */
  scale: number;
}

/** y = a + scale b. @param a null: only the scaled b */
export function runAdd(a: TensorInfo | null, b: TensorInfo, scale: number): TensorInfo {
  const y = newTensor(b.shape);
  const { conditions, constants, count, workgroups } = flatGrid(b.shape[0] * b.shape[1]);
  runKernel({
    kernel: "add",
    conditions: { ...conditions, ONLY_B: a === null },
    constants,
    bindings: { a: a ?? undefined, b, y },
    params: { count, s: scale },
    workgroups,
  });
  return y;
}

const addOp = defineOp<"a" | "b", AddAttrs>({
  name: "GrpoAdd",
  forward: ({ a, b }, { scale }) => runAdd(a, b, scale),
  gradient: (dy, _saved, { scale }) => ({
    a: () => (dy as Tensor).clone(),
    b: () => scale === 1 ? (dy as Tensor).clone() : scaled(dy as Tensor, scale),
  }),
});

const scaleOp = defineOp<"b", AddAttrs>({
  name: "GrpoScale",
  forward: ({ b }, { scale }) => runAdd(null, b, scale),
  gradient: (dy, _saved, { scale }) => ({ b: () => scaled(dy as Tensor, scale) }),
});

/** scale x. @param x f32 [N,D] @returns f32 [N,D] */
export function scaled(x: Tensor, scale: number): Tensor {
  return scaleOp({ b: x }, { scale })[0];
}

/** a + scale b of one shape. @param a f32 [N,D] @param b f32 [N,D] @returns f32 [N,D] */
export function add(a: Tensor, b: Tensor, scale = 1): Tensor {
  return addOp({ a, b }, { scale })[0];
}

/** Twin of add.wgsl. */
export function addF64(a: ArrayLike<number>, b: ArrayLike<number>, scale = 1): Float64Array {
  return Float64Array.from(a, (value, i) => value + scale * b[i]);
}
