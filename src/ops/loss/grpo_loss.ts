/** The GRPO loss on the GPU; the maths and its twin are rl/loss.ts. */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import { assertWeighted, clipBounds, type TokenLossConfig } from "../../rl/loss.ts";
import { LOSS_TYPES } from "../../rl/loss_types.ts";
import type { ClipBounds, PolicyTerm } from "../../rl/policy_terms.ts";

/** Columns of the loss's second output. */
export const LOSS_STATS = ["kl", "clippedLow", "clippedHigh", "entropy"] as const;

/** M completion tokens laid end to end, of B completions. All but the log-probs is held constant. */
export interface LossInputs {
  /** f32 [M] of the policy that is trained, nats. */
  logprobs: Tensor;
  /** f32 [M]; null: the log-probs themselves (one update per generation), so every ratio is 1. */
  oldLogprobs: Tensor | null;
  /** f32 [M]; null: no KL term (beta = 0). */
  refLogprobs: Tensor | null;
  /** f32 [M], only summed up for the log. */
  entropy: Tensor;
  /** i32 [B+1]: completion b owns tokens offsets[b] .. offsets[b+1]-1; those behind the last are spare. */
  offsets: Tensor;
  /** f32 [M]: what each token's policy term is multiplied by (rl/policy_weights.ts); null: nothing. */
  tokenWeights: Tensor | null;
  /** f32 [2,B]: advantages, then the weights of rl/loss_weights.ts `sequenceWeights`. */
  advantagesAndWeights: Tensor;
}

export interface LossOutputs {
  /** f32 [B], differentiable with respect to the log-probs: each completion's part of the step's loss. */
  losses: Tensor;
  /** f32 [B,4], sums over each completion's tokens in the order of LOSS_STATS. */
  stats: Tensor;
}

interface LossAttrs extends Omit<LossInputs, "logprobs"> {
  beta: number;
  bounds: ClipBounds;
  constants: { LEVEL: number; RATIO_KL: number } & PolicyTerm["kernelConstants"];
}

/** Stands for "no bound": WGSL has no infinity. */
const F32_MAX = 3.4028234663852886e38;
export const finite = (bound: number) => Math.max(Math.min(bound, F32_MAX), -F32_MAX);

/** What the loss and its gradient are both called with: see kernels/lib/grpo.wgsl. */
function lossCall(logprobs: TensorInfo, attrs: LossAttrs) {
  const { oldLogprobs, refLogprobs, tokenWeights, offsets, advantagesAndWeights, beta, bounds } = attrs;
  return {
    conditions: { TOKEN_WEIGHTS: tokenWeights !== null },
    constants: { WG: 32, ...attrs.constants },
    bindings: {
      logp: logprobs,
      old_logp: oldLogprobs ?? logprobs,
      ref_logp: refLogprobs ?? logprobs,
      offsets,
      advantages_weights: advantagesAndWeights,
      token_weights: tokenWeights ?? undefined,
    },
    params: {
      completions: advantagesAndWeights.shape[1]!,
      tokens: logprobs.shape[0],
      beta,
      low: finite(bounds.low),
      high: finite(bounds.high),
      delta: finite(bounds.delta),
      gate_pos: bounds.gatePos,
      gate_neg: bounds.gateNeg,
    },
  };
}

const grpoLossOp = defineOp<"logprobs", LossAttrs>({
  name: "GrpoLoss",
  forward({ logprobs }, attrs) {
    const completions = attrs.advantagesAndWeights.shape[1]!;
    const losses = newTensor([completions]);
    const stats = newTensor([completions, LOSS_STATS.length]);
    const { bindings, params, ...variant } = lossCall(logprobs, attrs);
    runKernel({
      kernel: "grpo_loss",
      ...variant,
      bindings: { ...bindings, entropy: attrs.entropy, losses, stats },
      params,
      workgroups: foldGrid(completions),
    });
    return [losses, stats];
  },
  saves: { inputs: ["logprobs"] },
  gradient: (dys, [logprobs], attrs) => ({
    logprobs: () => grpoLossGradOp({ logprobs, dlosses: (dys as Tensor[])[0] }, attrs)[0],
  }),
});

const grpoLossGradOp = defineOp<"logprobs" | "dlosses", LossAttrs>({
  name: "GrpoLossGrad",
  forward({ logprobs, dlosses }, attrs) {
    const dlogp = newTensor(logprobs.shape);
    const { bindings, params, ...variant } = lossCall(logprobs, attrs);
    runKernel({
      kernel: "grpo_loss_grad",
      ...variant,
      bindings: { ...bindings, dlosses, dlogp },
      params,
      workgroups: foldGrid(params.completions + 1),
    });
    return dlogp;
  },
});

/**
 * losses[b] = w_b sum_t l[b,t] (rl/loss.ts has l), so that their sum over all micro-batches is the step's loss.
 * @throws TypeError when the loss type's policy terms are nothing without weights and there are none
 */
export function grpoLoss({ logprobs, ...given }: LossInputs, config: TokenLossConfig): LossOutputs {
  assertWeighted(config, given.tokenWeights);
  const [losses, stats] = grpoLossOp({ logprobs }, {
    ...given,
    refLogprobs: config.beta === 0 ? null : given.refLogprobs,
    beta: config.beta,
    bounds: clipBounds(config),
    constants: {
      LEVEL: config.importance_sampling_level === "sequence" ? 1 : 0,
      ...LOSS_TYPES[config.loss_type].policyTerm.kernelConstants,
      RATIO_KL: config.use_bias_correction_kl ? 1 : 0,
    },
  });
  return { losses, stats };
}
