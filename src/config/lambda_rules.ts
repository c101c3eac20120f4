/** Rules between the keys of lambda. */
import { LAMBDA_RULES, ruleNameOf } from "../rl/lambda/rules.ts";
import type { Rule } from "./rule.ts";

const RULE_KEYS = ["lambda_rule", "lambda_adapt", "lambda_pos_cost_only"] as const;

export const LAMBDA_SETTING_RULES: readonly Rule[] = [
  {
    keys: ["lambda_min", "lambda_max"],
    check: (config) =>
      config.lambda_min <= config.lambda_max
        ? null
        : `lambda_min must not exceed lambda_max, got ${config.lambda_min} > ${config.lambda_max}; swap them`,
  },
  {
    keys: RULE_KEYS,
    check: (config) => {
      if (config.lambda_rule === "log_ema") return null;
      const flag = !config.lambda_adapt
        ? "lambda_adapt"
        : config.lambda_pos_cost_only
        ? null
        : "lambda_pos_cost_only";
      return flag &&
        `${flag}: false must stand with lambda_rule "log_ema", of which it makes another rule, got ` +
          `"${config.lambda_rule}"; remove one of the two`;
    },
  },
  {
    keys: ["lambda_cost", "lambda_min", "lambda_max", ...RULE_KEYS],
    check: (config) => {
      const rule = LAMBDA_RULES[ruleNameOf(config)];
      const least = rule.least(config);
      if (!rule.adapts || (least <= config.lambda_cost && config.lambda_cost <= config.lambda_max)) {
        return null;
      }
      const lower = least === 0 ? "0" : `lambda_min = ${least}`;
      return `lambda_cost must lie between ${lower} and lambda_max = ${config.lambda_max} while lambda adapts, got ` +
        `${config.lambda_cost}; move it or widen the bounds`;
    },
  },
  {
    keys: ["lambda_kp", "lambda_ki", "lambda_rule"],
    check: (config) =>
      config.lambda_rule !== "pid" || config.lambda_kp > 0 || config.lambda_ki > 0
        ? null
        : 'lambda_kp or lambda_ki must be > 0 with lambda_rule "pid", got 0 and 0: lambda would not follow the ' +
          "costs; raise one",
  },
  {
    keys: ["lambda_scope", "lambda_rule"],
    check: (config) =>
      config.lambda_rule !== "one_shot" || config.lambda_scope === "global"
        ? null
        : 'lambda_scope must be "global" with lambda_rule "one_shot", which finds one lambda from the scores of all ' +
          `ranks, got "${config.lambda_scope}"; change one of the two`,
  },
];
