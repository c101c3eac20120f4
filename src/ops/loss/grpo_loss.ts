/** The GRPO loss on the GPU; the maths and its twin are rl/loss.ts. */
import type { Tensor, TensorInfo } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import { newTensor } from "../../gpu/tensors.ts";
import { defineOp } from "../../gpu/op.ts";
import { type ClipBounds, clipBounds, type TokenLossConfig } from "../../rl/loss.ts";

/** Columns of the loss's second output. */
export const LOSS_STATS = ["kl", "clippedLow", "clippedHigh", "entropy"] as const;

/** What the loss takes as given, for M completion tokens laid end to end, of B completions. */
export interface LossContext {
  /** f32 [M]; null: the log-probs themselves (one update per generation), so every ratio is 1. */
  oldLogprobs: Tensor | null;
  /** f32 [M]; null: no KL term (beta = 0). */
  refLogprobs: Tensor | null;
  /** f32 [M], only summed up for the log. */
  entropy: Tensor;
  /** i32 [B+1]: completion b owns tokens offsets[b] .. offsets[b+1]-1; those behind the last are spare. */
  offsets: Tensor;
  /** f32 [2,B]: advantages, then the weights of rl/loss_weights.ts `sequenceWeights`. */
  advantagesAndWeights: Tensor;
}

interface LossAttrs extends LossContext {
  beta: number;
  bounds: ClipBounds;
  constants: { LEVEL: number; CISPO: number; RATIO_KL: number };
}

/** Stands for "no bound": WGSL has no infinity. */
const F32_MAX = 3.4028234663852886e38;
const finite = (bound: number) => Math.max(Math.min(bound, F32_MAX), -F32_MAX);

/** What the loss and its gradient are both called with: see kernels/lib/grpo.wgsl. */
function lossCall(logprobs: TensorInfo, attrs: LossAttrs) {
  const { oldLogprobs, refLogprobs, offsets, advantagesAndWeights, beta, bounds } = attrs;
  return {
    constants: { WG: 32, ...attrs.constants },
    bindings: {
      logp: logprobs,
      old_logp: oldLogprobs ?? logprobs,
      ref_logp: refLogprobs ?? logprobs,
      offsets,
      advantages_weights: advantagesAndWeights,
    },
    params: {
      completions: advantagesAndWeights.shape[1]!,
      tokens: logprobs.shape[0],
      beta,
      low: finite(bounds.low),
      high: finite(bounds.high),
      delta: finite(bounds.delta),
    },
  };
}

const grpoLossOp = defineOp<"logprobs", LossAttrs>({
  name: "GrpoLoss",
  forward({ logprobs }, attrs) {
    const completions = attrs.advantagesAndWeights.shape[1]!;
    const losses = newTensor([completions]);
    const stats = newTensor([completions, LOSS_STATS.length]);
    const { constants, bindings, params } = lossCall(logprobs, attrs);
    runKernel({
      kernel: "grpo_loss",
      constants,
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
    const { constants, bindings, params } = lossCall(logprobs, attrs);
    runKernel({
      kernel: "grpo_loss_grad",
      constants,
      bindings: { ...bindings, dlosses, dlogp },
      params,
      workgroups: foldGrid(params.completions + 1),
    });
    return dlogp;
  },
});

/**
 * losses[b] = w_b sum_t l[b,t] (rl/loss.ts has l), so that their sum over all micro-batches is the step's loss.
 * @param logprobs f32 [M], nats
 * @returns losses f32 [B]; stats f32 [B,4], sums over each completion's tokens in the order of LOSS_STATS
 */
export function grpoLoss(
  logprobs: Tensor,
  context: LossContext,
  config: TokenLossConfig,
): { losses: Tensor; stats: Tensor } {
  const [losses, stats] = grpoLossOp({ logprobs }, {
    ...context,
    refLogprobs: config.beta === 0 ? null : context.refLogprobs,
    beta: config.beta,
    bounds: clipBounds(config),
    constants: {
      LEVEL: config.importance_sampling_level === "sequence" ? 1 : 0,
      CISPO: config.loss_type === "cispo" ? 1 : 0,
      RATIO_KL: config.use_bias_correction_kl ? 1 : 0,
    },
  });
  return { losses, stats };
}
