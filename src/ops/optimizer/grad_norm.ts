/** Global gradient norm and clipping, without reading anything back. */
import type { Tensor } from "@tensorflow/tfjs";
import * as tf from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid, inVec4s } from "../../gpu/grids.ts";
import { disposeInfo, emptyTensor, newTensor } from "../../gpu/tensors.ts";
import { bindWindow, windowsOf } from "../../gpu/windows.ts";

/** Elements summed by one workgroup. */
const RUN = 8192;

/**
 * norm = sqrt(sum over all gradients of g^2); scale = min(1, maxNorm / (norm + 1e-6)), as torch's clip_grad_norm_;
 * scale 0 when the norm is not finite, which makes `adamw` skip the step.
 * @param maxNorm 0 turns clipping off
 * @returns f32 [2]: norm, scale; the caller disposes it
 */
export function clipScale(grads: Tensor[], maxNorm: number): Tensor {
  const total = grads.reduce((sum, grad) => sum + Math.ceil(grad.size / RUN), 0);
  const sums = newTensor([total]);
  let slot = 0;
  for (const grad of grads) {
    for (const window of windowsOf(grad.size, 4, RUN)) {
      const runs = Math.ceil(window.count / RUN);
      const { conditions, count } = inVec4s(window.count);
      runKernel({
        kernel: "square_sums",
        conditions,
        constants: { WG: 64, SPAN: conditions.VEC4 ? RUN / 4 : RUN },
        bindings: { x: bindWindow(grad, 4, window), sums },
        params: { count, slot },
        workgroups: foldGrid(runs),
      });
      slot += runs;
    }
  }
  const clip = tf.tidy(() => emptyTensor([2]));
  runKernel({
    kernel: "clip_scale",
    constants: { WG: 64 },
    bindings: { sums, clip },
    params: { count: total, max_norm: maxNorm },
    workgroups: [1, 1, 1],
  });
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
