/** Where a gradient that was accumulated apart enters backward. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { add } from "./add.ts";

/**
 * y = x, without a kernel or a copy; backward: dx = dy + accumulator, which is read only then. So the keys and values
 * that several batches share get a backward pass of their own, after the gradients of all of those have been added up.
 * @param x f32 [N,D] @param accumulator f32 [N,D] @returns f32 [N,D]
 * @throws RangeError when the shapes differ
 */
export function addGradient(x: Tensor, accumulator: Tensor): Tensor {
  if (`${x.shape}` !== `${accumulator.shape}`) {
    throw new RangeError(
      `Cannot add a gradient of shape [${accumulator.shape}] to that of x [${x.shape}]: need the same shape`,
    );
  }
  const op = tf.customGrad((input) => ({
    value: (input as Tensor).clone(),
    gradFunc: (dy: Tensor) => add(dy, accumulator),
  }));
  return op(x);
}
