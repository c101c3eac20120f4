/** Settings of lambda for tests of its rules: round numbers, so that a step can be worked by hand. */
import type { LambdaConfig } from "../../src/rl/lambda.ts";

export const LAMBDA_CONFIG: LambdaConfig = {
  lambda_rule: "log_ema",
  lambda_adapt: true,
  cost_threshold_d: 0.5,
  cost_bound: "mean",
  cost_confidence: 0.9,
  lambda_lr: 0.1,
  lambda_min: 1e-4,
  lambda_max: 5,
  jc_ema_beta: 0.9,
  lambda_pos_cost_only: true,
  lambda_kp: 0.1,
  lambda_ki: 0.01,
  lambda_kd: 0.01,
  lambda_d_delay: 10,
};
