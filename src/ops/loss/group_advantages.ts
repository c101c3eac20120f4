/** Group-relative advantages on the GPU; the twin is rl/advantages.ts. */
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import type { ScaleRewards } from "../../rl/advantages.ts";

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
