/** A PID controller of lambda. */
import type { LambdaConfig, LambdaRule, LambdaState, Moved, Violation } from "./rule.ts";

/**
 * Stooke, Achiam, Abbeel, arXiv:2007.03964, algorithm 2, smoothed and delayed as in the authors' code:
 *
 *   I = max(0, I + Ki * J_raw), which begins at lambda_cost
 *   P = J_ema
 *   D = max(0, J_ema - J_ema of lambda_d_delay updates before), or of the first update where there are fewer
 *   lambda = clip(Kp P + I + Kd D, 0, lambda_max)
 *
 * Their averages begin at 0, ours at the first J, as in every rule here.
 */
function stepPid(state: LambdaState, { jRaw, jEma }: Violation, config: LambdaConfig): Moved {
  const { integral: before, averages } = state.pid ?? { integral: state.lambda, averages: [] };
  const integral = Math.max(0, before + config.lambda_ki * jRaw);
  const rise = Math.max(0, jEma - (averages[0] ?? jEma));
  const lambda = config.lambda_kp * jEma + integral + config.lambda_kd * rise;
  return {
    lambda: Math.min(Math.max(lambda, 0), config.lambda_max),
    pid: { integral, averages: [...averages, jEma].slice(-config.lambda_d_delay) },
  };
}

export const pid: LambdaRule = {
  source: "arXiv:2007.03964",
  help:
    "lambda_kp times the averaged J, plus the sum of lambda_ki times J, plus lambda_kd times the rise of the " +
    "averaged J, between 0 and lambda_max",
  rectifies: false,
  countsOnlyExcess: false,
  adapts: true,
  least: () => 0,
  step: stepPid,
};
