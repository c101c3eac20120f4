/**
 * The policy term of a token's loss: the part that pulls probable what was better than its group. What loss types
 * have in common (ratios, the KL term, sums) is in loss.ts; what a term alone knows stands here, its name for the
 * kernel (kernels/lib/grpo.wgsl) included.
 */
import type { LossMeans } from "./loss_means.ts";

/** The config keys that bound ratios. */
export interface ClipConfig {
  epsilon: number;
  /** Upper clip range; null = epsilon. Some terms read it as the largest ratio itself. */
  epsilon_high: number | null;
  /** Upper bound of the unclipped ratio (two-sided clipping, arXiv:2505.07291); null = none. */
  delta: number | null;
}

/** The bounds that both the twin and the kernel clip ratios with; what is not bounded is infinite. */
export interface ClipBounds {
  low: number;
  high: number;
  delta: number;
}

/** What a term reads of one token. */
interface TermInputs {
  /** log pi(token), nats */
  logprob: number;
  /** Probability ratio to the policy that sampled. */
  ratio: number;
  /** The same number where the formula holds it constant. */
  heldRatio: number;
  advantage: number;
}

interface TermOutputs {
  loss: number;
  /** d loss / d logprob */
  gradient: number;
}

/** Metrics that say how much was clipped, by their names in the log. */
export const CLIP_METRICS = [
  "clip_ratio/low_mean",
  "clip_ratio/low_min",
  "clip_ratio/high_mean",
  "clip_ratio/high_max",
  "clip_ratio/region_mean",
  "cispo_clip_ratio",
] as const;

/** Values of the clip metrics that a loss type has. */
export type ClipMetrics = Partial<Record<(typeof CLIP_METRICS)[number], number>>;

export interface PolicyTerm {
  /** Loss of one token and its derivative: what the kernel computes, in f64. */
  twin(token: TermInputs, bounds: ClipBounds): TermOutputs;
  bounds(config: ClipConfig): ClipBounds;
  /** Whether its gradient goes through the ratio, which a completion's tokens may share, or through the log-prob. */
  pullsAt: "ratio" | "logprob";
  /** Chooses the term's branch in the kernel. */
  kernelConstants: { CISPO: 0 | 1 };
  /** What epsilon_high is where it is not the upper clip range: it must then be given, and be `least` or more. */
  epsilonHigh?: { meaning: string; least: number; suggested: number };
  /** How its clipping is logged, from the step's means. */
  clipMetrics(means: LossMeans): ClipMetrics;
}

/** -min(min(ratio, delta) A, clip(ratio, 1 - epsilon, 1 + epsilon_high) A), as PPO (arXiv:1707.06347) */
export const CLIPPED_RATIO: PolicyTerm = {
  twin({ ratio, advantage }, { low, high, delta }) {
    const unclipped = Math.min(ratio, delta) * advantage;
    const clipped = Math.min(Math.max(ratio, low), high) * advantage;
    // Inside the range both branches agree and pass the gradient; outside it only the unclipped one does, below delta.
    const passes = unclipped <= clipped && ratio <= delta;
    return { loss: -Math.min(unclipped, clipped), gradient: passes ? -unclipped : 0 };
  },
  bounds: (config) => ({
    low: 1 - config.epsilon,
    high: 1 + (config.epsilon_high ?? config.epsilon),
    delta: config.delta ?? Infinity,
  }),
  pullsAt: "ratio",
  kernelConstants: { CISPO: 0 },
  clipMetrics: (means) => ({
    "clip_ratio/low_mean": means.clipRatioLow,
    "clip_ratio/low_min": means.clipRatioLowMin,
    "clip_ratio/high_mean": means.clipRatioHigh,
    "clip_ratio/high_max": means.clipRatioHighMax,
    "clip_ratio/region_mean": means.clipRatioRegion,
  }),
};

/** -stopgrad(min(ratio, epsilon_high)) A logprob (arXiv:2506.13585): every token keeps its gradient */
export const WEIGHTED_LOGPROB: PolicyTerm = {
  twin({ logprob, heldRatio, advantage }, { high }) {
    const weight = Math.min(heldRatio, high) * advantage;
    return { loss: -weight * logprob, gradient: -weight };
  },
  bounds: (config) => ({ low: -Infinity, high: config.epsilon_high ?? config.epsilon, delta: Infinity }),
  pullsAt: "logprob",
  kernelConstants: { CISPO: 1 },
  epsilonHigh: { meaning: "the largest ratio itself", least: 1, suggested: 5 },
  clipMetrics: (means) => ({ cispo_clip_ratio: means.clipRatioHigh }),
};
