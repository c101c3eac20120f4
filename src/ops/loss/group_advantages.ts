/** Group-relative advantages on the GPU; the twins are rl/advantages.ts and rl/composition.ts. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import type { ScaleRewards } from "../../rl/advantages.ts";
import type { AdvantageTerms } from "../../rl/composition.ts";

const SCALE_CODE: Record<ScaleRewards, number> = { group: 0, batch: 1, none: 2 };

const groupAdvantagesOp = defineOp<"scores", { groupSize: number; scaleRewards: ScaleRewards }>({
  name: "GrpoGroupAdvantages",
  forward({ scores }, { groupSize, scaleRewards }) {
    const [count] = scores.shape;
    const advantages = newTensor([count]);
    runKernel({
      kernel: "group_advantages",
      constants: { WG: 64, SCALE: SCALE_CODE[scaleRewards] },
      bindings: { scores, advantages },
      params: { count, group_size: groupSize },
      workgroups: [1, 1, 1],
    });
    return advantages;
  },
});

/**
 * A = (r - mean_g) / (std + 1e-4) over groups of `groupSize` (arXiv:2402.03300); NaN scores get 0 and count nowhere.
 * @param scores f32 [N], groups one after the other
 * @returns f32 [N]
 * @throws RangeError when N is no multiple of groupSize
 */
export function groupAdvantages(scores: Tensor, groupSize: number, scaleRewards: ScaleRewards): Tensor {
  if (scores.size % groupSize !== 0) {
    throw new RangeError(
      `Cannot group ${scores.size} scores: need a multiple of num_generations = ${groupSize}`,
    );
  }
  return groupAdvantagesOp({ scores }, { groupSize, scaleRewards })[0];
}

/**
 * The sum by weight of several scores' advantages, each standardized apart, in the order of the terms; standardized
 * once more, over the whole batch, where they are whitened. Weights multiply after each is a number of its own, so
 * that no compiler can fuse one's product with another's sum. The caller frees what is made on the way (tf.tidy).
 * @returns f32 [N]; the twin is composedAdvantagesF64
 * @throws RangeError when N is no multiple of groupSize
 */
export function composedAdvantages(
  { terms, isWhitened }: AdvantageTerms,
  groupSize: number,
  scaleRewards: ScaleRewards,
): Tensor {
  const weighed = terms.map(({ scores, weights }) => {
    const advantages = groupAdvantages(tf.tensor1d(Float32Array.from(scores)), groupSize, scaleRewards);
    return tf.mul(advantages, tf.tensor1d(Float32Array.from(weights)));
  });
  const sum = weighed.reduce((total, one) => tf.add(total, one));
  return isWhitened ? groupAdvantages(sum, sum.size, "group") : sum;
}
