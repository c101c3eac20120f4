/** How far the sampler is from the trainer, and the weights that correct for it; the maths is rl/sampler_weights.ts. */
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import {
  isMasked,
  isOfSequence,
  SAMPLER_STATS,
  type SamplerWeightsConfig,
  weightBounds,
} from "../../rl/sampler_weights.ts";
import { finite } from "./grpo_loss.ts";

const samplerWeightsOp = defineOp<"trainer" | "sampler" | "offsets", { config: SamplerWeightsConfig }>({
  name: "GrpoSamplerWeights",
  forward({ trainer, sampler, offsets }, { config }) {
    const [tokens] = trainer.shape;
    const completions = offsets.shape[0] - 1;
    const weights = newTensor([tokens]);
    const stats = newTensor([completions, SAMPLER_STATS.length]);
    const { low, high } = weightBounds(config);
    const mode = config.importance_sampling_mode;
    runKernel({
      kernel: "sampler_weights",
      constants: { WG: 32, SEQUENCE: isOfSequence(mode) ? 1 : 0, MASK: isMasked(mode) ? 1 : 0 },
      bindings: { trainer, sampler, offsets, weights, stats },
      params: { completions, tokens, low: finite(low), high: finite(high) },
      workgroups: foldGrid(completions + 1),
    });
    return [weights, stats];
  },
});

/**
 * Weights of tokens, and sums and extremes over each completion in the order of SAMPLER_STATS. Has no gradient.
 * @param logprobs f32 [M] each, nats: of the policy that sampled, as training computes them and as decoding did
 * @param offsets i32 [B+1], as of the loss
 * @returns weights f32 [M] and stats f32 [B,5]
 */
export function samplerWeights(
  { trainer, sampler }: { trainer: Tensor; sampler: Tensor },
  offsets: Tensor,
  config: SamplerWeightsConfig,
): { weights: Tensor; stats: Tensor } {
  const [weights, stats] = samplerWeightsOp({ trainer, sampler, offsets }, { config });
  return { weights, stats };
}
