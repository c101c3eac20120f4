/** What a rule for lambda is given, keeps and says. One constraint: mean(C) + d <= 0. */

/** The state of a Lagrange multiplier: part of every checkpoint. */
export interface LambdaState {
  /** Weight of the cost in `combined = R - lambda * C`. */
  lambda: number;
  /** Moving average of J; null before the first update. */
  jEma: number | null;
  /** Updates so far. */
  updates: number;
  /** What `pid` remembers besides, from its first update on. */
  pid?: PidMemory;
}

export interface PidMemory {
  /** The integral part of lambda, gain included; >= 0. */
  integral: number;
  /** Moving averages of J of the last updates, oldest first: `lambda_d_delay` of them, fewer at the beginning. */
  averages: readonly number[];
}

/** The config keys that the rules read. */
export interface LambdaConfig {
  lambda_rule: "log_ema" | "signed" | "pid" | "fixed" | "per_prompt" | "one_shot";
  lambda_adapt: boolean;
  cost_threshold_d: number;
  cost_bound: "mean" | "pessimistic";
  cost_confidence: number;
  lambda_lr: number;
  lambda_min: number;
  lambda_max: number;
  jc_ema_beta: number;
  lambda_pos_cost_only: boolean;
  lambda_kp: number;
  lambda_ki: number;
  lambda_kd: number;
  lambda_d_delay: number;
}

export type LambdaRuleName = LambdaConfig["lambda_rule"];

/** What of a state a rule moves. */
export type Moved = Pick<LambdaState, "lambda" | "pid">;

/** The violation of one batch. */
export interface Violation {
  /** mean(C) + d, of the costs that count. */
  jRaw: number;
  /** Moving average of J, this batch's included. */
  jEma: number;
}

export interface LambdaRule {
  /** Where it is from. */
  source: string;
  /** What it does, for the help of the config key: "NAME ...". */
  help: string;
  /** Whether costs below the limit count as being at it: max(C + d, 0), in J and in the combined score. */
  rectifies: boolean;
  /** Whether J < 0 counts as 0, unless `lambda_pos_cost_only` is false. */
  countsOnlyExcess: boolean;
  /** Whether lambda changes from batch to batch. */
  adapts: boolean;
  /** Smallest lambda that it gives. */
  least(config: LambdaConfig): number;
  step(state: LambdaState, violation: Violation, config: LambdaConfig): Moved;
}
