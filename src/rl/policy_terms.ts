/**
 * The policy term of a token's loss: the part that pulls probable what was better than its group. What loss types
 * have in common (ratios, the KL term, sums) is in loss.ts; what a term alone knows stands here, its name for the
 * kernel (kernels/lib/grpo.wgsl) included.
 */
import type { ImportanceSamplingLevel, LossMeans } from "./loss_means.ts";

/** The config keys that bound ratios, or gate them. */
export interface ClipConfig {
  epsilon: number;
  /** Upper clip range; null = epsilon. Some terms read it as the largest ratio itself. */
  epsilon_high: number | null;
  /** Upper bound of the unclipped ratio (two-sided clipping, arXiv:2505.07291); null = none. */
  delta: number | null;
  /** How steeply `sapo` closes for tokens whose advantage is 0 or less. */
  sapo_temperature_neg: number;
  /** The same for those whose advantage is above 0. */
  sapo_temperature_pos: number;
}

/** What both the twin and the kernel bound ratios with; what is not bounded is infinite. */
export interface ClipBounds {
  low: number;
  high: number;
  delta: number;
  /** Temperatures of a term that gates ratios instead; others do not read them. */
  gatePos: number;
  gateNeg: number;
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
  "vespo/phi_seq_mean",
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
  kernelConstants: { TERM: 0 | 1 | 2 | 3 };
  /** Whether it is nothing without the weights of policy_weights.ts, which hold its weight of the completion. */
  isWeighted?: true;
  /** The only level of ratios with which it is what its source says; left out: any. */
  level?: ImportanceSamplingLevel;
  /** What epsilon_high is where it is not the upper clip range: it must then be given, and be `least` or more. */
  epsilonHigh?: { meaning: string; least: number; suggested: number };
  /** How its clipping is logged, from the step's means. */
  clipMetrics(means: LossMeans): ClipMetrics;
}

const UNBOUNDED: ClipBounds = { low: -Infinity, high: Infinity, delta: Infinity, gatePos: 1, gateNeg: 1 };

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
    ...UNBOUNDED,
    low: 1 - config.epsilon,
    high: 1 + (config.epsilon_high ?? config.epsilon),
    delta: config.delta ?? Infinity,
  }),
  pullsAt: "ratio",
  kernelConstants: { TERM: 0 },
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
  bounds: (config) => ({ ...UNBOUNDED, high: config.epsilon_high ?? config.epsilon }),
  pullsAt: "logprob",
  kernelConstants: { TERM: 1 },
  epsilonHigh: { meaning: "the largest ratio itself", least: 1, suggested: 5 },
  clipMetrics: (means) => ({ cispo_clip_ratio: means.clipRatioHigh }),
};

/**
 * -4 / tau sigmoid(tau (ratio - 1)) A, tau by the sign of A (arXiv:2511.20347): a gate that closes softly on both sides
 * of 1, where its slope is that of the ratio itself.
 */
export const SOFT_GATE: PolicyTerm = {
  twin({ ratio, advantage }, { gatePos, gateNeg }) {
    const temperature = advantage > 0 ? gatePos : gateNeg;
    const away = Math.exp(-temperature * (ratio - 1));
    const gate = 1 / (1 + away);
    return {
      loss: -4 / temperature * gate * advantage,
      gradient: -4 * gate * (away * gate) * ratio * advantage, // away gate = 1 - gate, without its cancellation
    };
  },
  bounds: (config) => ({
    ...UNBOUNDED,
    gatePos: config.sapo_temperature_pos,
    gateNeg: config.sapo_temperature_neg,
  }),
  pullsAt: "ratio",
  kernelConstants: { TERM: 2 },
  clipMetrics: () => ({}),
};

/** -phi A logprob (arXiv:2602.10693): phi, held constant, is the completion's weight of policy_weights.ts. */
export const GAMMA_WEIGHTED: PolicyTerm = {
  twin: ({ logprob, advantage }) => ({ loss: -advantage * logprob, gradient: -advantage }),
  bounds: () => UNBOUNDED,
  pullsAt: "logprob",
  kernelConstants: { TERM: 3 },
  isWeighted: true,
  level: "token",
  clipMetrics: (means) => ({ "vespo/phi_seq_mean": means.sequenceWeight }),
};

/** As CLIPPED_RATIO, for a loss that sums over a completion what all of its tokens share. */
export const CLIPPED_SEQUENCE_RATIO: PolicyTerm = { ...CLIPPED_RATIO, level: "sequence" };
