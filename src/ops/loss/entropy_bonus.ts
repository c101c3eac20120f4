/** The entropy bonus of a loss: what is more uncertain costs less. */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";

/** What the bonus is made of, beside losses and entropies. */
export interface BonusWeights {
  /** f32 [B]: of each entropy of a completion. */
  bonusWeights: Tensor;
  /** f32 [M]: 1 for tokens that count, else 0; null: all count. */
  tokenMask: Tensor | null;
  /** i32 [B+1], as of the loss. */
  offsets: Tensor;
}

/** What the bonus and its gradient are both called with. */
const bonusCall = ({ bonusWeights, tokenMask, offsets }: BonusWeights) => ({
  conditions: { TOKEN_MASK: tokenMask !== null },
  constants: { WG: 32 },
  bindings: { bonus_weights: bonusWeights, offsets, token_mask: tokenMask ?? undefined },
});

const entropyBonusOp = defineOp<"losses" | "entropy", BonusWeights & { tokens: number }>({
  name: "GrpoEntropyBonus",
  forward({ losses, entropy }, weights) {
    const [completions] = losses.shape;
    const out = newTensor([completions]);
    const { bindings, ...variant } = bonusCall(weights);
    runKernel({
      kernel: "entropy_bonus",
      ...variant,
      bindings: { ...bindings, losses, entropy, out },
      params: { completions },
      workgroups: foldGrid(completions),
    });
    return out;
  },
  gradient: (dy, _saved, weights) => ({
    losses: () => (dy as Tensor).clone(),
    entropy: () => entropyBonusGradOp({ dlosses: dy as Tensor }, weights)[0],
  }),
});

const entropyBonusGradOp = defineOp<"dlosses", BonusWeights & { tokens: number }>({
  name: "GrpoEntropyBonusGrad",
  forward({ dlosses }: { dlosses: TensorInfo }, { tokens, ...weights }) {
    const [completions] = dlosses.shape;
    const dentropy = newTensor([tokens]);
    const { bindings, ...variant } = bonusCall(weights);
    runKernel({
      kernel: "entropy_bonus_grad",
      ...variant,
      bindings: { ...bindings, dlosses, dentropy },
      params: { completions, tokens },
      workgroups: foldGrid(completions + 1),
    });
    return dentropy;
  },
});

/**
 * losses[b] - bonusWeights[b] * sum of the entropies of its tokens that count.
 * @param losses f32 [B]
 * @param entropy f32 [M], nats, completions end to end
 * @returns f32 [B], differentiable with respect to both
 */
export function entropyBonus(losses: Tensor, entropy: Tensor, weights: BonusWeights): Tensor {
  return entropyBonusOp({ losses, entropy }, { ...weights, tokens: entropy.shape[0]! })[0];
}

interface BonusArrays {
  bonusWeights: ArrayLike<number>;
  tokenMask: ArrayLike<number> | null;
  offsets: ArrayLike<number>;
}

/** Twin of entropy_bonus.wgsl. @returns [B] */
export function entropyBonusF64(
  losses: ArrayLike<number>,
  entropy: ArrayLike<number>,
  { bonusWeights, tokenMask, offsets }: BonusArrays,
): Float64Array {
  return Float64Array.from(losses, (loss, b) => {
    let sum = 0;
    for (let i = offsets[b]; i < offsets[b + 1]; i++) sum += entropy[i] * (tokenMask?.[i] ?? 1);
    return loss - bonusWeights[b] * sum;
  });
}

/** Twin of entropy_bonus_grad.wgsl. @param tokens M @returns dentropy [M] */
export function entropyBonusGradF64(
  dlosses: ArrayLike<number>,
  tokens: number,
  { bonusWeights, tokenMask, offsets }: BonusArrays,
): Float64Array {
  const dentropy = new Float64Array(tokens);
  for (let b = 0; b < dlosses.length; b++) {
    for (let i = offsets[b]; i < offsets[b + 1]; i++) {
      dentropy[i] = -dlosses[b] * bonusWeights[b] * (tokenMask?.[i] ?? 1);
    }
  }
  return dentropy;
}
