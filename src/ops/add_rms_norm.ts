/** The residual connection with the norm that follows it, in one pass over the residual stream. */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { disposeInfo, f32, newTensor, runKernel, u32 } from "../gpu/bridge.ts";
import { defineOp, jointGradients } from "../gpu/op.ts";
import { addF64, runAdd } from "./add.ts";
import { rmsNormF64, rmsNormGradF64, runRmsNorm, runRmsNormGrad, vec4Rows } from "./rms_norm.ts";
import type { Weight } from "./weight.ts";

interface AddRmsNormAttrs {
  eps: number;
  weightGrad: Tensor | null;
}

function runAddRmsNorm(x: TensorInfo, branch: TensorInfo, w: TensorInfo, eps: number): TensorInfo[] {
  const [rows, width] = x.shape;
  if (width % 4) {
    const sum = runAdd(x, branch, 1);
    return [sum, ...runRmsNorm(sum, w, eps)];
  }
  const made = [newTensor([rows, width]), newTensor([rows, width]), newTensor([rows])];
  runKernel({
    kernel: "add_rms_norm",
    ...vec4Rows(rows, width),
    bindings: [
      ...[x, branch, w].map((tensor) => ({ tensor })),
      ...made.map((tensor) => ({ tensor, written: true })),
    ],
    params: [u32(rows), u32(width), f32(eps)],
  });
  return made;
}

const addRmsNormOp = defineOp<"x" | "branch" | "w", AddRmsNormAttrs>({
  name: "GrpoAddRmsNorm",
  forward: ({ x, branch, w }, { eps }) => runAddRmsNorm(x, branch, w, eps),
  saves: { inputs: ["w"], outputs: [true, false, true] },
  gradient(dys, [w, sum, rstd], { weightGrad }) {
    const [dsum, dnormed] = dys as Tensor[];
    const [dx] = addRmsNormGradOp({ sum, w, rstd, dsum, dnormed }, { weightGrad });
    return jointGradients(["x", "branch"], [dx, dx.clone()]);
  },
});

const addRmsNormGradOp = defineOp<"sum" | "w" | "rstd" | "dsum" | "dnormed", { weightGrad: Tensor | null }>({
  name: "GrpoAddRmsNormGrad",
  forward({ sum, w, rstd, dsum, dnormed }, { weightGrad }) {
    const inputs = { x: sum, w, rstd, dy: dnormed };
    if (sum.shape[1] % 4 === 0) return runRmsNormGrad(inputs, weightGrad, dsum);
    const dx = runRmsNormGrad(inputs, weightGrad);
    const both = runAdd(dsum, dx, 1);
    disposeInfo(dx);
    return both;
  },
});

/**
 * sum = x + branch and normed = sum / sqrt(mean(sum^2) + eps) * w, row by row: the bits of `add`, then `rmsNorm`. Backward
 * gives both inputs one and the same gradient.
 * @param x f32 [R,D]
 * @param branch f32 [R,D]
 * @param weight f32 [D]; its `grad`, when it has one, is added to in backward
 * @returns sum and normed, f32 [R,D] each
 */
export function addRmsNorm(x: Tensor, branch: Tensor, weight: Weight, eps: number): [Tensor, Tensor] {
  const [sum, normed] = addRmsNormOp({ x, branch, w: weight.tensor }, { eps, weightGrad: weight.grad });
  return [sum, normed];
}

/** Twin of add_rms_norm.wgsl in f64. @returns sum and normed, each [R,D] */
export function addRmsNormF64(
  x: ArrayLike<number>,
  branch: ArrayLike<number>,
  w: ArrayLike<number>,
  rows: number,
  width: number,
  eps: number,
) {
  const sum = addF64(x, branch);
  return { sum, normed: rmsNormF64(sum, w, rows, width, eps).y };
}

/** Its gradient in f64. @returns dx [R,D], the gradient of x and of branch, and dw [D] */
export function addRmsNormGradF64(
  sum: ArrayLike<number>,
  w: ArrayLike<number>,
  dsum: ArrayLike<number>,
  dnormed: ArrayLike<number>,
  rows: number,
  width: number,
  eps: number,
) {
  const { dx, dw } = rmsNormGradF64(sum, w, dnormed, rows, width, eps);
  return { dx: addF64(dsum, dx), dw };
}
