/** How rewards, costs and lambdas make advantages. */
import { groupAdvantagesF64, type ScaleRewards } from "./advantages.ts";

/**
 * R the reward, C_k the costs, lambda_k their multipliers, Z(x) = (x - mean) / (std + 1e-4) in the group:
 *
 *   reward     Z(R - sum lambda_k C_k): GRPO of the combined score, the reference run's
 *   advantage  Z(R) - sum lambda_k Z(C_k)  (arXiv:2602.05863)
 *   ppo_lag    (Z(R) - sum lambda_k Z(C_k)) / (1 + sum lambda_k)  (safe-rlhf's PPO-Lag)
 *   gdpo       y = sum w_m Z(R_m) - sum lambda_k Z(C_k), then (y - mean) / (std + 1e-4) over the batch
 *              (arXiv:2601.05242; TRL's multi_objective_aggregation "normalize_then_sum")
 *
 * With scale_rewards batch or none the Z of the first three are scaled as that says.
 */
export const ADVANTAGE_COMPOSITIONS = ["reward", "advantage", "gdpo", "ppo_lag"] as const;

export type AdvantageComposition = (typeof ADVANTAGE_COMPOSITIONS)[number];

/** A reward or a cost of all completions, [N], and what it is weighed with there; a cost's weight is -lambda. */
export interface AdvantageTerm {
  scores: readonly number[];
  weights: readonly number[];
}

/** What is to be standardized apart, and what becomes of the sum. */
export interface AdvantageTerms {
  terms: readonly AdvantageTerm[];
  /** Whether the sum is standardized over the batch. */
  isWhitened: boolean;
}

/** Rewards and costs of all completions, before they are weighed. */
export interface WeighedScores {
  /** The whole reward, [N]. */
  reward: readonly number[];
  /** Its parts by weight; one alone unless the rewards have names. */
  rewards: readonly { weight: number; scores: readonly number[] }[];
  /** Each cost with the lambda that holds for each completion, [N]. */
  costs: readonly { scores: readonly number[]; lambdas: readonly number[] }[];
}

/** The terms of a composition; null for `reward`, whose advantages are made of the combined score alone. */
export function advantageTerms(
  composition: AdvantageComposition,
  { reward, rewards, costs }: WeighedScores,
): AdvantageTerms | null {
  if (composition === "reward") return null;
  const even = (weight: number) => reward.map(() => weight);
  const plus = composition === "gdpo"
    ? rewards.filter(({ weight }) => weight !== 0)
      .map(({ weight, scores }) => ({ scores, weights: even(weight) }))
    : [{ scores: reward, weights: even(1) }];
  const minus = costs.map(({ scores, lambdas }) => ({ scores, weights: lambdas.map((lambda) => -lambda) }));
  const terms = [...plus, ...minus];
  if (composition !== "ppo_lag") return { terms, isWhitened: composition === "gdpo" };
  const divisors = reward.map((_, i) => costs.reduce((sum, { lambdas }) => sum + lambdas[i], 1));
  return {
    terms: terms.map(({ scores, weights }) => ({
      scores,
      weights: weights.map((weight, i) => weight / divisors[i]),
    })),
    isWhitened: false,
  };
}

/**
 * Advantages of a composition: the sum by weight of its terms, each standardized in its group; whitened over the batch
 * where it says so. A score that is NaN counts as nothing, as TRL's nansum.
 * @returns [N], groups one after the other
 * @throws RangeError when N is no multiple of `groupSize`
 */
export function composedAdvantagesF64(
  { terms, isWhitened }: AdvantageTerms,
  groupSize: number,
  scaleRewards: ScaleRewards,
): Float64Array {
  const sum = new Float64Array(terms[0].scores.length);
  for (const { scores, weights } of terms) {
    const { advantages } = groupAdvantagesF64(scores, groupSize, scaleRewards);
    advantages.forEach((advantage, i) => sum[i] += weights[i] * advantage);
  }
  return isWhitened ? groupAdvantagesF64(sum, sum.length, "group").advantages : sum;
}

/** A step's scores, as its advantages are made of them. */
export interface AdvantageScores {
  /** R - sum lambda_k C_k, [N]; NaN where a score is missing. */
  combined: ArrayLike<number>;
  /** null or left out: of `combined` alone. */
  terms?: AdvantageTerms | null;
}

/** @returns [N] in f64, for records */
export function advantagesOf(
  { combined, terms }: AdvantageScores,
  groupSize: number,
  scaleRewards: ScaleRewards,
): Float64Array {
  return terms
    ? composedAdvantagesF64(terms, groupSize, scaleRewards)
    : groupAdvantagesF64(combined, groupSize, scaleRewards).advantages;
}
