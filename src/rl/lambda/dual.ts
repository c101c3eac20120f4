/** The lambda that solves a constrained alignment problem at once, by its dual. */

/** Scored completions of the policy that training begins with; groups lie one after the other. */
export interface ScoredGroups {
  rewards: readonly number[];
  costs: readonly number[];
  /** Completions per prompt. */
  groupSize: number;
}

interface DualSettings {
  /** Weight of the KL divergence from the policy that sampled, in units of the reward; > 0. */
  beta: number;
  cost_threshold_d: number;
  lambda_max: number;
}

/** Mean of `values` under weights exp(logits), the largest logit taken off first. */
function tiltedMean(values: readonly number[], logits: readonly number[]): number {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  let [total, weighed] = [0, 0];
  values.forEach((value, i) => {
    const weight = Math.exp(logits[i] - most);
    total += weight;
    weighed += weight * value;
  });
  return weighed / total;
}

/**
 * Mean over prompts of E[C + d] under the policy that is best for lambda, p(y) ~ p_ref(y) exp((R - lambda C) / beta),
 * by completions of p_ref. It is minus the slope of the dual function, and falls as lambda rises.
 */
function violationAt(
  lambda: number,
  { rewards, costs, groupSize }: ScoredGroups,
  settings: DualSettings,
): number {
  const groups = rewards.length / groupSize;
  let sum = 0;
  for (let group = 0; group < groups; group++) {
    const [from, to] = [group * groupSize, (group + 1) * groupSize];
    const ofGroup = costs.slice(from, to);
    const logits = ofGroup.map((cost, i) => (rewards[from + i] - lambda * cost) / settings.beta);
    sum += tiltedMean(ofGroup, logits);
  }
  return sum / groups + settings.cost_threshold_d;
}

/**
 * Huang et al., arXiv:2405.19544 (MoCAN): with a KL penalty the best policy for each lambda is known, so that lambda is
 * what minimizes the dual
 *
 *   D(lambda) = beta mean_x ln mean_y exp((R(x, y) - lambda (C(x, y) + d)) / beta),   0 <= lambda <= lambda_max,
 *
 * a convex function of one number: the least lambda at which its slope is not negative, by halving until no double
 * lies between. Where no lambda brings the mean cost down to the limit it is lambda_max.
 *
 * @throws RangeError when there are no whole groups, or a score is not finite
 */
export function dualLambda(scored: ScoredGroups, settings: DualSettings): number {
  const { rewards, costs, groupSize } = scored;
  if (rewards.length === 0 || rewards.length !== costs.length || rewards.length % groupSize !== 0) {
    throw new RangeError(
      `Cannot solve for lambda: need rewards and costs of whole groups of ${groupSize}, got ${rewards.length} and ` +
        `${costs.length}; score each completion`,
    );
  }
  if (![...rewards, ...costs].every(Number.isFinite)) {
    throw new RangeError(
      "Cannot solve for lambda: need finite rewards and costs, got others; check the scorer",
    );
  }
  if (violationAt(0, scored, settings) <= 0) return 0;
  let [low, high] = [0, settings.lambda_max];
  for (let middle = high / 2; middle > low && middle < high; middle = low + (high - low) / 2) {
    if (violationAt(middle, scored, settings) > 0) low = middle;
    else high = middle;
  }
  return high;
}
