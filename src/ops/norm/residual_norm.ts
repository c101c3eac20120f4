/** A norm on a branch of the residual stream: the stream goes on beside it, so that one op alone reads the stream. */
import type { Tensor } from "@tensorflow/tfjs";
import { aliasOf } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import { addF64 } from "../elementwise/add.ts";
import {
  type NormGradAttrs,
  type NormOptions,
  type NormSizes,
  rmsNormGradF64,
  runRmsNorm,
  runRmsNormGrad,
} from "./rms_norm.ts";
import type { Weight } from "../weight/weight.ts";

const residualNormOp = defineOp<"x" | "w", NormOptions & NormGradAttrs>({
  name: "GrpoResidualNorm",
  forward: ({ x, w }, options) => [aliasOf(x), ...runRmsNorm(x, w, options)],
  saves: { inputs: ["x", "w"], outputs: [false, false, true] },
  gradient(dys, [x, w, rstd], attrs) {
    const [dstream, dnormed] = dys as Tensor[];
    return { x: () => residualNormGradOp({ x, w, rstd, dstream, dnormed }, attrs)[0] };
  },
});

type GradInput = "x" | "w" | "rstd" | "dstream" | "dnormed";

const residualNormGradOp = defineOp<GradInput, NormGradAttrs>({
  name: "GrpoResidualNormGrad",
  forward: ({ x, w, rstd, dstream, dnormed }, attrs) =>
    runRmsNormGrad({ x, w, rstd, dy: dnormed }, attrs, dstream),
});

/**
 * x itself, and normed = x / sqrt(mean(x^2) + eps) * w, row by row, with `unitOffset` * (1 + w): the bits of
 * `rmsNorm`. What is made of the two pulls at x in one pass, where two readers of x would leave their gradients to be
 * added by a stock tfjs op.
 * @param x f32 [R,D]
 * @param weight f32 [D]; its `grad`, when it has one, is added to in backward
 * @returns x, without a copy, and normed, f32 [R,D] each
 */
export function residualNorm(x: Tensor, weight: Weight, options: NormOptions): [Tensor, Tensor] {
  const [stream, normed] = residualNormOp({ x, w: weight.tensor }, { ...options, weightGrad: weight.grad });
  return [stream, normed];
}

/** Twin of the op's gradient in f64. @returns dx [R,D] and dw [D] */
export function residualNormGradF64(
  { x, w, dstream, dnormed }: Record<"x" | "w" | "dstream" | "dnormed", ArrayLike<number>>,
  sizes: NormSizes,
) {
  const { dx, dw } = rmsNormGradF64(x, w, dnormed, sizes);
  return { dx: addF64(dstream, dx), dw };
}
