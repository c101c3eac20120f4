/** What policy terms are multiplied by, on the GPU; the maths and its twin are rl/policy_weights.ts. */
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import { type PolicyWeightsConfig, weighsCompletions } from "../../rl/policy_weights.ts";
import { finite } from "./grpo_loss.ts";

/** M completion tokens laid end to end, of B completions. */
export interface PolicyWeightsInputs {
  /** f32 [M] of the policy that is trained, nats; held constant. */
  logprobs: Tensor;
  /** f32 [M] of the policy that sampled, as training and as decoding computed them. */
  oldLogprobs: Tensor;
  samplerLogprobs: Tensor;
  /** f32 [M] of sampler_weights.ts; null: 1. */
  samplerWeights: Tensor | null;
  /** f32 [M]: 1 for tokens whose policy term counts, else 0; null: all count. */
  tokenMask: Tensor | null;
  /** i32 [B+1]: completion b owns tokens offsets[b] .. offsets[b+1]-1; those behind the last are spare. */
  offsets: Tensor;
  /** f32 [2,B], as of the loss. */
  advantagesAndWeights: Tensor;
}

interface Attrs extends Omit<PolicyWeightsInputs, "logprobs"> {
  config: PolicyWeightsConfig;
}

const policyWeightsOp = defineOp<"logprobs", Attrs>({
  name: "GrpoPolicyWeights",
  forward({ logprobs }, { config, ...given }) {
    const { oldLogprobs, samplerLogprobs, samplerWeights, tokenMask, offsets, advantagesAndWeights } = given;
    const [tokens] = logprobs.shape;
    const completions = advantagesAndWeights.shape[1]!;
    const VESPO = weighsCompletions(config);
    const OFF_POLICY = config.off_policy_mask_threshold !== null;
    const weights = newTensor([tokens]);
    const sequenceWeights = newTensor([completions]);
    runKernel({
      kernel: "policy_weights",
      conditions: {
        VESPO,
        OFF_POLICY,
        SAMPLER_WEIGHTS: samplerWeights !== null,
        TOKEN_MASK: tokenMask !== null,
      },
      constants: { WG: 32 },
      bindings: {
        offsets,
        advantages_weights: advantagesAndWeights,
        logp: VESPO || OFF_POLICY ? logprobs : undefined,
        old_logp: VESPO ? oldLogprobs : undefined,
        sampler: OFF_POLICY ? samplerLogprobs : undefined,
        sampler_weights: samplerWeights ?? undefined,
        token_mask: tokenMask ?? undefined,
        weights,
        sequence_weights: sequenceWeights,
      },
      params: {
        completions,
        tokens,
        threshold: finite(config.off_policy_mask_threshold ?? Infinity),
        k_pos: config.vespo_k_pos,
        lambda_pos: config.vespo_lambda_pos,
        k_neg: config.vespo_k_neg,
        lambda_neg: config.vespo_lambda_neg,
      },
      workgroups: foldGrid(completions + 1),
    });
    return [weights, sequenceWeights];
  },
});

/**
 * Weights of tokens, and the part of them that a completion has as a whole (phi of `vespo`, else 1). No gradient.
 * @returns weights f32 [M] and sequenceWeights f32 [B]
 */
export function policyWeights(
  { logprobs, ...given }: PolicyWeightsInputs,
  config: PolicyWeightsConfig,
): { weights: Tensor; sequenceWeights: Tensor } {
  const [weights, sequenceWeights] = policyWeightsOp({ logprobs }, { ...given, config });
  return { weights, sequenceWeights };
}
