/**
 * The rules for lambda: all that the program knows of one is its entry here. The configuration, its rules and its docs
 * read this table.
 */
import { fixed, oneShot } from "./kept.ts";
import { logEma, perPrompt, signed } from "./log_space.ts";
import { pid } from "./pid.ts";
import type { LambdaConfig, LambdaRule, LambdaRuleName } from "./rule.ts";

export const LAMBDA_RULES: Readonly<Record<LambdaRuleName, LambdaRule>> = {
  log_ema: logEma,
  signed,
  pid,
  fixed,
  per_prompt: perPrompt,
  one_shot: oneShot,
};

/** Names of the rules, in the table's order. */
export const LAMBDA_RULE_NAMES = Object.keys(LAMBDA_RULES) as [LambdaRuleName, ...LambdaRuleName[]];

/**
 * The rule that a configuration means. Two flags of the reference run say the same as two rules: `lambda_adapt: false`
 * is `fixed`, `lambda_pos_cost_only: false` is `signed`.
 */
export function ruleNameOf(
  config: Pick<LambdaConfig, "lambda_rule" | "lambda_adapt" | "lambda_pos_cost_only">,
): LambdaRuleName {
  if (config.lambda_rule !== "log_ema") return config.lambda_rule;
  if (!config.lambda_adapt) return "fixed";
  return config.lambda_pos_cost_only ? "log_ema" : "signed";
}

export const ruleOf = (config: LambdaConfig): LambdaRule => LAMBDA_RULES[ruleNameOf(config)];
