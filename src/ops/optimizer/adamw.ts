/** The optimizer: AdamW with decoupled weight decay (arXiv:1711.05101), in place on the GPU. */
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { flatGrid } from "../../gpu/grids.ts";
import { bindWindow, type Window, windowsOf } from "../../gpu/windows.ts";

export interface AdamwOptions {
  learningRate: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  /** 1 for the first update. */
  step: number;
}

export interface AdamwState {
  weight: Tensor;
  firstMoment: Tensor;
  secondMoment: Tensor;
  grad: Tensor;
  /** Values of weight and gradient before those that the moments are of, multiples of 64; none unless given. */
  before?: { weight: number; grad: number };
}

/**
 * One step of torch.optim.AdamW on one parameter, or on a part of it; updates all four tensors of `state` and clears
 * the gradient.
 * @param clip f32 [2] of `clipScale`
 */
export function adamw(state: AdamwState, clip: Tensor, options: AdamwOptions): void {
  for (const window of windowsOf(state.firstMoment.size, 4)) runAdamw(state, clip, options, window);
}

function runAdamw(state: AdamwState, clip: Tensor, options: AdamwOptions, window: Window): void {
  const { learningRate, beta1, beta2, epsilon, weightDecay, step } = options;
  const { weight, firstMoment, secondMoment, grad, before = { weight: 0, grad: 0 } } = state;
  const part = (tensor: Tensor, first = 0) =>
    bindWindow(tensor, 4, { first: first + window.first, count: window.count });
  const { count, ...grid } = flatGrid(window.count);
  runKernel({
    kernel: "adamw",
    ...grid,
    bindings: {
      weight: part(weight, before.weight),
      m: part(firstMoment),
      v: part(secondMoment),
      grad: part(grad, before.grad),
      clip,
    },
    params: {
      count,
      step: learningRate / (1 - beta1 ** step),
      root: 1 / Math.sqrt(1 - beta2 ** step),
      eps: epsilon,
      decay: 1 - learningRate * weightDecay,
      beta1,
      beta2,
      rest1: 1 - beta1,
      rest2: 1 - beta2,
    },
  });
}

/** Twin of adamw.wgsl: returns new arrays. @param scale of the gradients, as clipping has it; 0: no update */
export function adamwF64(
  { weight, m, v, grad }: Record<"weight" | "m" | "v" | "grad", ArrayLike<number>>,
  scale: number,
  options: AdamwOptions,
) {
  const { learningRate: lr, beta1, beta2, epsilon, weightDecay, step } = options;
  if (scale === 0) {
    return { weight: Float64Array.from(weight), m: Float64Array.from(m), v: Float64Array.from(v) };
  }
  const newM = Float64Array.from(m, (value, i) => beta1 * value + (1 - beta1) * grad[i] * scale);
  const newV = Float64Array.from(v, (value, i) => beta2 * value + (1 - beta2) * (grad[i] * scale) ** 2);
  const newWeight = Float64Array.from(weight, (value, i) => {
    const mHat = newM[i] / (1 - beta1 ** step);
    const vHat = newV[i] / (1 - beta2 ** step);
    return value * (1 - lr * weightDecay) - lr * mHat / (Math.sqrt(vHat) + epsilon);
  });
  return { weight: newWeight, m: newM, v: newV };
}
