/** Global gradient norm and clipping, without reading anything back. */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import * as tf from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid, inVec4s } from "../../gpu/grids.ts";
import { disposeInfo, emptyTensor, newTensor, type Words } from "../../gpu/tensors.ts";
import { bindWindow, windowsOf } from "../../gpu/windows.ts";

/** Elements summed by one workgroup. */
const RUN = 8192;

const runsOf = (count: number) => Math.ceil(count / RUN);

/** How many sums `squareSums` makes of these parts. */
export function squareSumCount(parts: readonly Words[]): number {
  return parts.reduce((total, { count }) => total + runsOf(count), 0);
}

/**
 * Sums of the squares of f32 values, in runs.
 * @param parts each begins at a multiple of 64
 * @param sums f32, written from `slot` on: squareSumCount(parts) of them
 */
export function squareSums(parts: readonly Words[], sums: TensorInfo, slot = 0): void {
  for (const { tensor, first, count: values } of parts) {
    for (const window of windowsOf(values, 4, RUN)) {
      const { conditions, count } = inVec4s(window.count);
      runKernel({
        kernel: "square_sums",
        conditions,
        constants: { WG: 64, SPAN: conditions.VEC4 ? RUN / 4 : RUN },
        bindings: {
          x: bindWindow(tensor, 4, { first: first + window.first, count: window.count }),
          sums,
        },
        params: { count, slot },
        workgroups: foldGrid(runsOf(window.count)),
      });
      slot += runsOf(window.count);
    }
  }
}

/** The same as clipScale, of sums of squares. @param sums f32, each of some values' squares */
export function clipOfSums(sums: TensorInfo, maxNorm: number): Tensor {
  const clip = tf.tidy(() => emptyTensor([2]));
  runKernel({
    kernel: "clip_scale",
    constants: { WG: 64 },
    bindings: { sums, clip },
    params: { count: sums.shape[0], max_norm: maxNorm },
    workgroups: [1, 1, 1],
  });
  return clip;
}

/**
 * norm = sqrt(sum over all gradients of g^2); scale = min(1, maxNorm / (norm + 1e-6)), as torch's clip_grad_norm_;
 * scale 0 when the norm is not finite, which makes `adamw` skip the step.
 * @param maxNorm 0 turns clipping off
 * @returns f32 [2]: norm, scale; the caller disposes it
 */
export function clipScale(grads: readonly Tensor[], maxNorm: number): Tensor {
  const parts = grads.map((tensor) => ({ tensor, first: 0, count: tensor.size }));
  const sums = newTensor([squareSumCount(parts)]);
  squareSums(parts, sums);
  const clip = clipOfSums(sums, maxNorm);
  disposeInfo(sums);
  return clip;
}

/** Twin of square_sums.wgsl and clip_scale.wgsl. */
export function gradNormF64(grads: ArrayLike<number>[], maxNorm: number): { norm: number; scale: number } {
  let sum = 0;
  for (const grad of grads) for (let i = 0; i < grad.length; i++) sum += grad[i] ** 2;
  const norm = Math.sqrt(sum);
  if (!Number.isFinite(norm)) return { norm, scale: 0 };
  return { norm, scale: maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1 };
}
