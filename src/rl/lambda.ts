/** The Lagrange multiplier of one constraint, mean(C) + d <= 0: what every rule shares. */
import { meanUpperBound } from "./mean_bound.ts";
import type { LambdaConfig, LambdaState } from "./lambda/rule.ts";
import { ruleOf } from "./lambda/rules.ts";

export type { LambdaConfig, LambdaState } from "./lambda/rule.ts";

export interface LambdaUpdate extends LambdaState {
  jEma: number;
  /** Constraint violation of this batch: the mean cost, or its upper bound, + d. */
  jRaw: number;
  /** Violation that entered the average: max(jRaw, 0) where the rule counts only that, else jRaw. */
  j: number;
}

/** What lambda learns from: the costs of every completion of the batch, on all ranks. */
export interface LambdaBatch {
  costs: readonly number[];
}

export function initialLambdaState(lambdaCost: number): LambdaState {
  return { lambda: lambdaCost, jEma: null, updates: 0 };
}

/**
 * The costs that lambda weighs, in J and in the combined score: C, or max(C + d, 0) where the rule rectifies
 * (`per_prompt`, arXiv:2410.19933).
 */
export function weighedCosts(costs: readonly number[], config: LambdaConfig): readonly number[] {
  return ruleOf(config).rectifies ? costs.map((cost) => Math.max(cost + config.cost_threshold_d, 0)) : costs;
}

/** What J adds to the mean of `weighedCosts`, which hold d already where they are rectified. */
const offsetOf = (config: LambdaConfig) => ruleOf(config).rectifies ? 0 : config.cost_threshold_d;

const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * One step of lambda by the rule of the configuration (lambda/rules.ts):
 *
 *   J_raw = mean(C) + d, or an upper confidence bound of that mean with `cost_bound: pessimistic`
 *   J     = max(J_raw, 0) where the rule counts only violations, else J_raw
 *   J_ema = J on the first batch, then jc_ema_beta * J_ema + (1 - jc_ema_beta) * J
 *
 * and lambda as the rule moves it.
 *
 * @throws RangeError when a cost is not finite, or there is none: lambda must never learn from a missing score
 */
export function updateLambda(state: LambdaState, { costs }: LambdaBatch, config: LambdaConfig): LambdaUpdate {
  const rule = ruleOf(config);
  const weighed = weighedCosts(costs, config);
  const meanCost = meanOf(weighed);
  if (!Number.isFinite(meanCost)) {
    throw new RangeError(
      `Cannot update lambda: need a finite mean cost, got ${meanCost}; check the scorer's costs`,
    );
  }
  const estimate = config.cost_bound === "pessimistic"
    ? meanUpperBound(weighed, config.cost_confidence)
    : meanCost;
  const jRaw = estimate + offsetOf(config);
  const j = rule.countsOnlyExcess && config.lambda_pos_cost_only ? Math.max(jRaw, 0) : jRaw;
  const jEma = state.jEma === null ? j : config.jc_ema_beta * state.jEma + (1 - config.jc_ema_beta) * j;
  return { ...rule.step(state, { jRaw, jEma }, config), jEma, updates: state.updates + 1, jRaw, j };
}

/**
 * combined[i] = rewards[i] - lambda * costs[i].
 *
 * @param costs as `weighedCosts` gives them
 * @throws RangeError when the two lists differ in length
 */
export function combineScores(
  rewards: ArrayLike<number>,
  costs: ArrayLike<number>,
  lambda: number,
): Float64Array {
  if (rewards.length !== costs.length) {
    throw new RangeError(
      `Cannot combine scores: need as many costs as rewards, got ${costs.length} and ${rewards.length}`,
    );
  }
  return Float64Array.from(rewards, (reward, i) => reward - lambda * costs[i]!);
}
