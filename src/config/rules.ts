import { batchProblem } from "./batch.ts";
import type { Config, ConfigKey } from "./schema.ts";

interface Rule {
  /** The keys it reads; the first is the one to point at. */
  keys: readonly ConfigKey[];
  /** The problem in words, or null. */
  check(config: Config, worldSize: number): string | null;
}

/** Rules between keys. Each is skipped while one of its keys is invalid by itself. */
export const RULES: readonly Rule[] = [
  {
    keys: ["gradient_accumulation_steps", "per_device_train_batch_size", "num_generations"],
    check: batchProblem,
  },
  {
    keys: ["lambda_min", "lambda_max"],
    check: (config) =>
      config.lambda_min <= config.lambda_max
        ? null
        : `lambda_min must not exceed lambda_max, got ${config.lambda_min} > ${config.lambda_max}; swap them`,
  },
  {
    keys: ["lambda_cost", "lambda_adapt", "lambda_min", "lambda_max"],
    check: (config) =>
      !config.lambda_adapt ||
        (config.lambda_min <= config.lambda_cost && config.lambda_cost <= config.lambda_max)
        ? null
        : `lambda_cost must lie between lambda_min = ${config.lambda_min} and lambda_max = ` +
          `${config.lambda_max} while lambda adapts, got ${config.lambda_cost}; move it or widen the bounds`,
  },
  {
    keys: ["max_steps"],
    check: (config) =>
      config.max_steps !== 0
        ? null
        : "max_steps must be >= 1, or -1 for num_train_epochs passes, got 0; set -1 or a number of steps",
  },
  {
    keys: ["warmup_steps", "max_steps"],
    check: (config) =>
      config.max_steps < 1 || config.warmup_steps <= config.max_steps
        ? null
        : `warmup_steps must be <= max_steps = ${config.max_steps}, got ${config.warmup_steps}; lower it`,
  },
  {
    keys: ["learning_rate", "lr_scheduler_type"],
    check: (config) =>
      config.lr_scheduler_type !== "polynomial" || config.learning_rate > 1e-7
        ? null
        : `learning_rate must be > 1e-7, where "polynomial" ends, got ${config.learning_rate}; raise it`,
  },
];

/** What a valid configuration should tell its user before the run starts. */
export function configNotices(config: Config): string[] {
  const notices: string[] = [];
  if (config.deepspeed_config !== null) {
    notices.push(
      `deepspeed_config "${config.deepspeed_config}" is accepted and does nothing: ` +
        "training here does not use DeepSpeed",
    );
  }
  if (config.eval_jsonl === null) notices.push("eval_jsonl is null: no evaluation will run");
  if (config.warmup_steps > 0 && config.lr_scheduler_type === "constant") {
    notices.push(
      `warmup_steps = ${config.warmup_steps} does nothing with lr_scheduler_type "constant"; ` +
        'use "constant_with_warmup"',
    );
  }
  return notices;
}
