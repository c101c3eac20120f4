import { shortJson } from "./parsed_json.ts";
import { QUALITY_NAMES, qualityName } from "../rl/eval_metrics.ts";
import { LOSS_TYPES } from "../rl/loss_types.ts";
import type { PolicyTerm } from "../rl/policy_terms.ts";
import { weighsCompletions } from "../rl/policy_weights.ts";
import { isMasked, isOfSequence } from "../rl/sampler_weights.ts";
import { type Schedule, SCHEDULES } from "../rl/schedules.ts";
import { batchProblem } from "./batch.ts";
import { CONSTRAINT_RULES, rulesOfEachCost } from "./constraint_rules.ts";
import { functionListProblem } from "./function_names.ts";
import { LAMBDA_SETTING_RULES } from "./lambda_rules.ts";
import type { Rule } from "./rule.ts";
import type { Config } from "./schema.ts";
import { SCORER_RULES } from "./scorer_rules.ts";

/** What is wrong with `lr_scheduler_kwargs` for the schedule that the configuration names, or null. */
function scheduleProblem(config: Config): string | null {
  const type = config.lr_scheduler_type;
  const allowed: Schedule["arguments"] = SCHEDULES[type].arguments;
  for (const [name, value] of Object.entries(config.lr_scheduler_kwargs ?? {})) {
    const argument = Object.hasOwn(allowed, name) ? allowed[name] : undefined;
    if (argument === undefined) {
      const names = Object.keys(allowed).join(", ");
      return `lr_scheduler_kwargs: "${type}" takes ${names || "no arguments"}, got "${name}"; remove it`;
    }
    if (!argument.accepts(value)) {
      const got = shortJson(value);
      return `lr_scheduler_kwargs: ${name} must be ${argument.requirement}, got ${got}; change it`;
    }
  }
  return missingArgument(config) ?? aboveLearningRate(config);
}

function missingArgument({ lr_scheduler_type: type, lr_scheduler_kwargs }: Config): string | null {
  const { required, eitherOf }: Schedule = SCHEDULES[type];
  const has = (name: string) => Object.hasOwn(lr_scheduler_kwargs ?? {}, name);
  if (required && !has(required.name)) {
    return `lr_scheduler_kwargs: "${type}" needs ${required.name}, got none; add ${required.meaning}`;
  }
  if (eitherOf && has(eitherOf[0]) === has(eitherOf[1])) {
    return `lr_scheduler_kwargs: "${type}" needs either ${eitherOf.join(" or ")}, got ` +
      `${has(eitherOf[0]) ? "both; remove one" : "neither; add one"}`;
  }
  return null;
}

/** A schedule that comes down to a rate begins above it. */
function aboveLearningRate(config: Config): string | null {
  const { lr_scheduler_type: type, lr_scheduler_kwargs, learning_rate } = config;
  const { end }: Schedule = SCHEDULES[type];
  const least = end?.(lr_scheduler_kwargs);
  if (least === undefined || learning_rate > least) return null;
  return `learning_rate must be > ${least}, where "${type}" ends, got ${learning_rate}; raise it, or lower lr_end`;
}

const SETTING_RULES: readonly Rule[] = [
  ...SCORER_RULES,
  ...CONSTRAINT_RULES,
  {
    keys: [
      "gradient_accumulation_steps",
      "per_device_train_batch_size",
      "steps_per_generation",
      "num_generations",
    ],
    check: batchProblem,
  },
  ...LAMBDA_SETTING_RULES,
  {
    keys: ["max_steps"],
    check: (config) =>
      config.max_steps !== 0
        ? null
        : "max_steps must be >= 1, or -1 for num_train_epochs passes, got 0; set -1 or a number of steps",
  },
  {
    keys: ["delta", "epsilon", "epsilon_high"],
    check: (config) => {
      const high = 1 + (config.epsilon_high ?? config.epsilon);
      return config.delta === null || config.delta >= high
        ? null
        : `delta must be >= 1 + epsilon_high = ${high}, where clipping begins, got ${config.delta}; raise it`;
    },
  },
  {
    keys: ["epsilon_high", "loss_type"],
    check: ({ loss_type, epsilon_high }) => {
      const { epsilonHigh } = LOSS_TYPES[loss_type].policyTerm;
      return !epsilonHigh || (epsilon_high ?? 0) >= epsilonHigh.least
        ? null
        : `epsilon_high must be >= ${epsilonHigh.least} with loss_type "${loss_type}", where it is ` +
          `${epsilonHigh.meaning}, got ${epsilon_high}; set ${epsilonHigh.suggested}`;
    },
  },
  {
    keys: ["loss_type", "importance_sampling_level"],
    check: ({ loss_type, importance_sampling_level: level }) => {
      const { policyTerm }: { policyTerm: PolicyTerm } = LOSS_TYPES[loss_type];
      return policyTerm.level === undefined || policyTerm.level === level
        ? null
        : `importance_sampling_level must be "${policyTerm.level}" with loss_type "${loss_type}", got "${level}"; ` +
          "set it";
    },
  },
  {
    keys: ["loss_type", "importance_sampling_mode", "importance_sampling_correction"],
    check: (config) =>
      config.importance_sampling_correction === false || !weighsCompletions(config) ||
        !isOfSequence(config.importance_sampling_mode)
        ? null
        : `importance_sampling_mode must be of tokens with loss_type "${config.loss_type}", which makes a weight of ` +
          `the completion itself, got "${config.importance_sampling_mode}"; set token_truncate or token_mask`,
  },
  {
    keys: ["entropy_coef", "use_adaptive_entropy", "entropy_coef_min", "entropy_coef_max"],
    check: ({ use_adaptive_entropy, entropy_coef: coef, entropy_coef_min: least, entropy_coef_max: most }) =>
      !use_adaptive_entropy || (least <= coef && coef <= most)
        ? null
        : `entropy_coef must lie between entropy_coef_min = ${least} and entropy_coef_max = ${most} while it adapts, ` +
          `got ${coef}; move it or widen the bounds`,
  },
  {
    keys: ["sync_ref_model", "beta"],
    check: ({ sync_ref_model, beta }) =>
      !sync_ref_model || ![beta].flat().includes(0)
        ? null
        : "sync_ref_model needs beta > 0, got 0: without a KL term there is no reference; raise beta, or set false",
  },
  {
    keys: ["sync_ref_model", "use_peft"],
    check: ({ sync_ref_model, use_peft }) =>
      !sync_ref_model || !use_peft
        ? null
        : "sync_ref_model needs all weights to be trained, got use_peft: with adapters the reference is the policy " +
          "without them, and nothing of its own; set one of the two to false",
  },
  {
    keys: ["importance_sampling_clip_min", "importance_sampling_clip_max"],
    check: ({ importance_sampling_clip_min: low, importance_sampling_clip_max: high }) =>
      (low ?? -Infinity) < (high ?? Infinity)
        ? null
        : `importance_sampling_clip_min must be below importance_sampling_clip_max = ${high}, got ${low}; lower it`,
  },
  {
    keys: [
      "importance_sampling_mode",
      "importance_sampling_clip_min",
      "importance_sampling_clip_max",
      "importance_sampling_correction",
    ],
    check: (config) =>
      config.importance_sampling_correction === false || isMasked(config.importance_sampling_mode) ||
        config.importance_sampling_clip_min !== null || config.importance_sampling_clip_max !== null
        ? null
        : `importance_sampling_mode "${config.importance_sampling_mode}" needs a bound to truncate at, got none; ` +
          "set importance_sampling_clip_max",
  },
  {
    keys: ["lora_dropout"],
    check: (config) =>
      config.lora_dropout === 0
        ? null
        : `lora_dropout must be 0, got ${config.lora_dropout}: with dropout the log-probs that are trained are not ` +
          "those of the policy that sampled, so the ratios of GRPO would be wrong; set 0",
  },
  {
    keys: ["lora_merge", "use_peft"],
    check: (config) =>
      config.use_peft || !config.lora_merge
        ? null
        : "lora_merge needs use_peft: without adapters there is nothing to merge; set one of the two",
  },
  {
    keys: ["lora_merge_bin", "lora_merge"],
    check: (config) =>
      config.lora_merge || !config.lora_merge_bin
        ? null
        : "lora_merge_bin needs lora_merge: without it no merged model is written; set one of the two",
  },
  {
    keys: ["warmup_steps", "max_steps"],
    check: (config) =>
      config.max_steps < 1 || config.warmup_steps <= config.max_steps
        ? null
        : `warmup_steps must be <= max_steps = ${config.max_steps}, got ${config.warmup_steps}; lower it`,
  },
  {
    keys: ["reward_functions"],
    check: (config) => functionListProblem("reward_functions", config.reward_functions),
  },
  {
    keys: ["cost_functions"],
    check: (config) => functionListProblem("cost_functions", config.cost_functions),
  },
  {
    keys: ["metric_for_best_model"],
    check: ({ metric_for_best_model: name }) =>
      name === null || qualityName(name) !== null
        ? null
        : `metric_for_best_model must be one of ${QUALITY_NAMES}, or null, got "${name}"; change it`,
  },
  {
    keys: ["metric_for_best_model", "load_best_model_at_end", "early_stopping_patience"],
    check: (config) => {
      if (config.metric_for_best_model !== null) return null;
      const needing = config.load_best_model_at_end
        ? "load_best_model_at_end"
        : config.early_stopping_patience !== null
        ? "early_stopping_patience"
        : null;
      return needing &&
        `${needing} needs metric_for_best_model, got none; set it, for example to eval/safe_ratio`;
    },
  },
  {
    keys: ["metric_for_best_model", "eval_jsonl"],
    check: (config) =>
      config.metric_for_best_model === null || config.eval_jsonl !== null
        ? null
        : "metric_for_best_model needs evaluations, but eval_jsonl is null; set eval_jsonl to a file of prompts",
  },
  {
    keys: ["lr_scheduler_kwargs", "lr_scheduler_type", "learning_rate"],
    check: scheduleProblem,
  },
];

/** Rules between keys. Each is skipped while one of its keys is invalid by itself. */
export const RULES: readonly Rule[] = [...SETTING_RULES, ...rulesOfEachCost(SETTING_RULES)];

/** What a valid configuration should tell its user before the run starts. */
export function configNotices(config: Config): string[] {
  const notices: string[] = [];
  if (config.eval_jsonl === null) notices.push("eval_jsonl is null: no evaluation will run");
  if (config.warmup_steps > 0 && SCHEDULES[config.lr_scheduler_type].warmup === "none") {
    notices.push(
      `warmup_steps = ${config.warmup_steps} does nothing with lr_scheduler_type "${config.lr_scheduler_type}"; ` +
        'use "constant_with_warmup"',
    );
  }
  return notices;
}
