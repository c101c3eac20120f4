/** What evolution strategies ask of a configuration, and which keys an algorithm does not read. */
import type { Rule } from "./rule.ts";
import { type Config, CONFIG_KEYS, type ConfigKey, defaultConfig, fieldMeta } from "./schema.ts";

const ofEs = (check: (config: Config) => string | null): Rule["check"] => (config) =>
  config.algorithm === "es" ? check(config) : null;

export const ES_RULES: readonly Rule[] = [
  {
    keys: ["es_population_size", "es_noise", "algorithm"],
    check: ofEs(({ es_population_size: size, es_noise }) =>
      es_noise !== "antithetic" || size % 2 === 0
        ? null
        : `es_population_size must be even with es_noise "antithetic", whose members are pairs, got ${size}; set ` +
          `${size - 1} or ${size + 1}`
    ),
  },
  {
    keys: ["es_rank", "es_noise", "algorithm"],
    check: ofEs(({ es_rank: rank, es_noise }) =>
      rank === null || es_noise !== "original"
        ? null
        : `es_rank must be null with es_noise "original", whose noise is of full rank, got ${rank}; set es_noise to ` +
          "iid or antithetic"
    ),
  },
  {
    keys: ["es_rank", "use_peft", "algorithm"],
    check: ofEs(({ es_rank: rank, use_peft }) =>
      rank === null || !use_peft
        ? null
        : `es_rank must be null with use_peft, got ${rank}: it perturbs whole matrices, where adapters take noise of ` +
          "full rank; leave out one of the two"
    ),
  },
  {
    keys: ["dtype", "algorithm"],
    check: ofEs(({ dtype }) =>
      dtype === "float32"
        ? null
        : `dtype must be float32 with algorithm "es", got ${dtype}: noise is taken off a weight again to the bit, ` +
          "and sums of 16-bit values are not exact; set float32"
    ),
  },
  {
    keys: ["beta", "algorithm"],
    check: ofEs(({ beta }) =>
      !Array.isArray(beta)
        ? null
        : `beta must be one number with algorithm "es", which does not read it, got a list of ${beta.length}: all ` +
          "its runs would be the same; leave it out"
    ),
  },
  {
    keys: ["log_completions", "algorithm"],
    check: ofEs(({ log_completions: kept }) =>
      kept === "table"
        ? null
        : `log_completions must be "table" with algorithm "es", got "${kept}": completions of members are no samples ` +
          "of the policy, and have no advantages; leave it out"
    ),
  },
  {
    keys: ["costs", "algorithm"],
    check: ofEs(({ costs }) =>
      costs === null
        ? null
        : `costs must be null with algorithm "es", got ${costs.length}: fitness has one cost and one lambda; leave ` +
          "it out, or sum them up with cost_functions"
    ),
  },
  {
    keys: ["lambda_rule", "algorithm"],
    check: ofEs(({ lambda_rule }) =>
      lambda_rule !== "one_shot"
        ? null
        : `lambda_rule must not be "one_shot" with algorithm "es": its dual is of completions that are drawn, and ` +
          "these are greedy; set fixed with a lambda_cost of your own"
    ),
  },
  {
    keys: ["lambda_scope", "algorithm"],
    check: ofEs(({ lambda_scope: scope }) =>
      scope === "global"
        ? null
        : `lambda_scope must be "global" with algorithm "es", got "${scope}": members on all ranks are held against ` +
          "each other, so they share one lambda; leave it out"
    ),
  },
];

/** Of the group Sampling: greedy decoding draws nothing. */
const SAMPLING_ALONE: readonly ConfigKey[] = [
  "num_generations",
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "repetition_penalty",
];
/** Of the group of lambda: what becomes of advantages. */
const LAMBDA_ALONE: readonly ConfigKey[] = ["advantage_composition"];
/** Of the group of the optimizer. */
const READ_BY_ES: readonly ConfigKey[] = [
  "num_train_epochs",
  "max_steps",
  "gpu_memory_gib",
  "max_nonfinite_steps",
];

function isRead(key: ConfigKey, algorithm: Config["algorithm"]): boolean {
  const { group } = fieldMeta(key);
  if (algorithm === "grpo") return group !== "Evolution strategies";
  if (group === "Loss") return false;
  return group === "Optimizer and batch"
    ? READ_BY_ES.includes(key)
    : ![...SAMPLING_ALONE, ...LAMBDA_ALONE].includes(key);
}

/** Keys that are not at their default and that the algorithm does not read. */
export function unreadKeys(config: Config): ConfigKey[] {
  const defaults = defaultConfig();
  return CONFIG_KEYS.filter((key) =>
    !isRead(key, config.algorithm) && JSON.stringify(config[key]) !== JSON.stringify(defaults[key])
  );
}
