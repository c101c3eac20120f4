/** Steps of ln(lambda), so that lambda stays positive: the reference's rule, and two that differ in what they count. */
import type { LambdaConfig, LambdaRule, LambdaState, Moved, Violation } from "./rule.ts";

/** Below this, ln(lambda) would leave the range where exp() returns to a usable number. */
const LAMBDA_FLOOR = 1e-12;

/** lambda = clip(exp(ln(max(lambda, 1e-12)) + lambda_lr * J_ema), lambda_min, lambda_max). */
function stepLog({ lambda }: LambdaState, { jEma }: Violation, config: LambdaConfig): Moved {
  const moved = Math.exp(Math.log(Math.max(lambda, LAMBDA_FLOOR)) + config.lambda_lr * jEma);
  return { lambda: Math.min(Math.max(moved, config.lambda_min), config.lambda_max) };
}

const inLogSpace = {
  rectifies: false,
  adapts: true,
  least: (config: LambdaConfig) => config.lambda_min,
  step: stepLog,
};

export const logEma: LambdaRule = {
  ...inLogSpace,
  source: "the reference run; log-space steps as in arXiv:2310.12773",
  help:
    "steps of ln(lambda) by lambda_lr times the averaged J, of which only J > 0 counts: lambda never falls",
  countsOnlyExcess: true,
};

export const signed: LambdaRule = {
  ...inLogSpace,
  source: "arXiv:2310.12773, without its factor lambda",
  help: "the same with J of both signs, so that lambda falls while the policy is safe",
  countsOnlyExcess: false,
};

export const perPrompt: LambdaRule = {
  ...inLogSpace,
  source: "arXiv:2410.19933",
  help:
    "as log_ema, with max(cost + d, 0) in the place of each cost, in J and in the score: safe answers earn " +
    "nothing more, so they cannot pay for unsafe ones",
  rectifies: true,
  countsOnlyExcess: true,
};
