/** The state of the Lagrange multiplier: part of every checkpoint. */
export interface LambdaState {
  /** Weight of the cost in `combined = R - lambda * C`. */
  lambda: number;
  /** Moving average of J; null before the first update. */
  jEma: number | null;
  /** Updates so far. */
  updates: number;
}

/** The config keys the rule reads. */
export interface LambdaConfig {
  lambda_adapt: boolean;
  cost_threshold_d: number;
  lambda_lr: number;
  lambda_min: number;
  lambda_max: number;
  jc_ema_beta: number;
  lambda_pos_cost_only: boolean;
}

export interface LambdaUpdate extends LambdaState {
  jEma: number;
  /** Constraint violation of this batch, mean(C) + d. */
  jRaw: number;
  /** Violation that entered the average: max(jRaw, 0) with `lambda_pos_cost_only`, else jRaw. */
  j: number;
}

/** Below this, ln(lambda) would leave the range where exp() returns to a usable number. */
const LAMBDA_FLOOR = 1e-12;

export function initialLambdaState(lambdaCost: number): LambdaState {
  return { lambda: lambdaCost, jEma: null, updates: 0 };
}

/**
 * One step of the adaptive multiplier, in log space so that lambda stays positive:
 *
 *   J_raw = mean(C) + d
 *   J     = max(J_raw, 0)  if lambda_pos_cost_only, else J_raw
 *   J_ema = J on the first batch, then jc_ema_beta * J_ema + (1 - jc_ema_beta) * J
 *   lambda = clip(exp(ln(max(lambda, 1e-12)) + lambda_lr * J_ema), lambda_min, lambda_max)
 *
 * `meanCost` is over every completion of the optimizer step, on all ranks. With `lambda_pos_cost_only`
 * lambda can only rise; `lambda_adapt: false` keeps it and still reports J.
 *
 * @throws RangeError when `meanCost` is not finite: lambda must never learn from a missing score
 */
export function updateLambda(state: LambdaState, meanCost: number, config: LambdaConfig): LambdaUpdate {
  if (!Number.isFinite(meanCost)) {
    throw new RangeError(
      `Cannot update lambda: need a finite mean cost, got ${meanCost}; check the scorer's costs`,
    );
  }
  const jRaw = meanCost + config.cost_threshold_d;
  const j = config.lambda_pos_cost_only ? Math.max(jRaw, 0) : jRaw;
  const jEma = state.jEma === null ? j : config.jc_ema_beta * state.jEma + (1 - config.jc_ema_beta) * j;
  const lambda = config.lambda_adapt ? stepLambda(state.lambda, jEma, config) : state.lambda;
  return { lambda, jEma, updates: state.updates + 1, jRaw, j };
}

function stepLambda(lambda: number, jEma: number, config: LambdaConfig): number {
  const moved = Math.exp(Math.log(Math.max(lambda, LAMBDA_FLOOR)) + config.lambda_lr * jEma);
  return Math.min(Math.max(moved, config.lambda_min), config.lambda_max);
}

/**
 * combined[i] = rewards[i] - lambda * costs[i].
 *
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
