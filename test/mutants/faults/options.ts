/** Settings that are ignored, stop strings that do not stop, and evaluations of something else. */
import type { Fault } from "../fault.ts";

/** A key that no longer reaches what it is for. */
const ignored = (key: string, file: string, find: string, replace: string): Fault => ({
  file: `src/${file}`,
  find,
  replace,
  harm: `${key} does nothing`,
  tests: [`e2e/config_effects.test.ts#${key}=`],
  claim: 4,
});

const IGNORED: readonly Fault[] = [
  ignored("prompt_key", "assembly/prompts.ts", "promptKey: config.prompt_key", 'promptKey: "prompt"'),
  ignored(
    "max_samples",
    "assembly/prompts.ts",
    "maxSamples: maxSamples ?? undefined",
    "maxSamples: undefined",
  ),
  ignored(
    "max_prompt_length",
    "assembly/prompts.ts",
    "maxPromptLength: config.max_prompt_length",
    "maxPromptLength: 512",
  ),
  ignored(
    "dtype",
    "assembly/run.ts",
    "loadPolicy(config.model_name, config.dtype,",
    'loadPolicy(config.model_name, "float32",',
  ),
  ignored(
    "matmul_precision",
    "assembly/run.ts",
    "setMatmulPrecision(wanted.matmul_precision)",
    'setMatmulPrecision("float32")',
  ),
  ignored("seed", "train/rollout.ts", "seed: config.seed", "seed: 42"),
  ignored("seed", "train/generation_batch.ts", "seed: config.seed", "seed: 42"),
  ignored("reward_model", "assembly/scorer.ts", "config.reward_model,", '"models/quickstart/reward",'),
  ignored("cost_scorer_url", "assembly/scorer.ts", "if (config.cost_scorer_url === null)", "if (true)"),
  ignored("scorer_api", "assembly/scorer.ts", "api: config.scorer_api,", 'api: "beaver" as const,'),
  ignored("scorer_input", "assembly/scorer.ts", "input: config.scorer_input,", 'input: "query" as const,'),
  ignored("scorer_label_key", "assembly/scorer.ts", "config.scorer_label_key ?? undefined", "undefined"),
  ignored("reward_label", "assembly/scorer.ts", "config.reward_label ?? undefined", "undefined"),
  ignored("reward_label", "assembly/scorer.ts", "rewardLabel: config.reward_label,", "rewardLabel: 0,"),
  ignored("cost_label", "assembly/scorer.ts", "config.cost_label ?? undefined", "undefined"),
  ignored("scorer_max_length", "assembly/scorer.ts", "config.scorer_max_length,", "512,"),
  ignored("scorer_timeout", "assembly/scorer.ts", "config.scorer_timeout * 1000", "300_000"),
  ignored(
    "scorer_max_retries",
    "assembly/scorer.ts",
    "maxRetries: config.scorer_max_retries",
    "maxRetries: 1",
  ),
  ignored(
    "scorer_batch_size",
    "train/generation_batch.ts",
    "batchSize: config.scorer_batch_size,",
    "batchSize: 32,",
  ),
  ignored("lambda_cost", "train/run.ts", "initialLambdaState(config.lambda_cost)", "initialLambdaState(1)"),
  ignored("lambda_adapt", "rl/lambda.ts", "config.lambda_adapt ? stepLambda", "true ? stepLambda"),
  ignored("cost_threshold_d", "rl/lambda.ts", "meanCost + config.cost_threshold_d", "meanCost"),
  ignored("lambda_lr", "rl/lambda.ts", "config.lambda_lr * jEma", "0.1 * jEma"),
  ignored(
    "lambda_min",
    "rl/lambda.ts",
    "config.lambda_min), config.lambda_max",
    "LAMBDA_FLOOR), config.lambda_max",
  ),
  ignored("lambda_max", "rl/lambda.ts", "config.lambda_min), config.lambda_max", "config.lambda_min), 5"),
  ignored("jc_ema_beta", "rl/lambda.ts", "config.jc_ema_beta * state.jEma", "0.9 * state.jEma"),
  ignored("lambda_pos_cost_only", "rl/lambda.ts", "config.lambda_pos_cost_only ? ", "true ? "),
  ignored("max_completion_length", "policy/decode/options.ts", "config.max_completion_length", "6"),
  ignored("temperature", "policy/decode/options.ts", "temperature: config.temperature", "temperature: 1"),
  ignored("temperature", "train/passes.ts", "temperature: config.temperature,", "temperature: 1,"),
  ignored("top_p", "policy/decode/options.ts", "topP: config.top_p", "topP: 1"),
  ignored("top_k", "policy/decode/options.ts", "topK: config.top_k", "topK: 0"),
  ignored("min_p", "policy/decode/options.ts", "minP: config.min_p ?? 0", "minP: 0"),
  ignored(
    "repetition_penalty",
    "policy/decode/options.ts",
    "repetitionPenalty: config.repetition_penalty",
    "repetitionPenalty: 1",
  ),
  ignored(
    "readback_every",
    "policy/decode/options.ts",
    "readbackEvery: config.readback_every",
    "readbackEvery: 16",
  ),
  ignored(
    "kv_cache_dtype",
    "policy/decode/options.ts",
    "kvCacheDtype: kvCacheDtypeOf(config)",
    'kvCacheDtype: "float32"',
  ),
  ignored(
    "importance_sampling_level",
    "ops/loss/grpo_loss.ts",
    'config.importance_sampling_level === "sequence" ? 1 : 0',
    "0",
  ),
  ignored("use_bias_correction_kl", "ops/loss/grpo_loss.ts", "config.use_bias_correction_kl ? 1 : 0", "1"),
  ignored("beta", "ops/loss/grpo_loss.ts", "    beta: config.beta,", "    beta: 0.1,"),
  ignored("epsilon", "rl/policy_terms.ts", "low: 1 - config.epsilon,", "low: 1 - 0.2,"),
  ignored(
    "epsilon_high",
    "rl/policy_terms.ts",
    "1 + (config.epsilon_high ?? config.epsilon)",
    "1 + config.epsilon",
  ),
  ignored("delta", "rl/policy_terms.ts", "config.delta ?? Infinity", "Infinity"),
  ignored(
    "loss_type",
    "train/prepared_update.ts",
    "sequenceWeights(config.loss_type,",
    'sequenceWeights("grpo",',
  ),
  ignored(
    "loss_type",
    "train/prepared_update.ts",
    "maxCompletionLength: config.max_completion_length",
    "maxCompletionLength: 512",
  ),
  ignored("scale_rewards", "train/update.ts", "config.scale_rewards,", '"group",'),
  ignored(
    "mask_truncated_completions",
    "train/prepared_update.ts",
    "config.mask_truncated_completions && ",
    "false && ",
  ),
  ignored("lora_alpha", "assembly/adapters.ts", "alpha: config.lora_alpha", "alpha: 32"),
  ignored("use_rslora", "assembly/adapters.ts", "useRslora: config.use_rslora", "useRslora: false"),
  ignored(
    "lora_target_modules",
    "assembly/adapters.ts",
    "targets: config.lora_target_modules",
    'targets: ["q_proj", "v_proj"]',
  ),
  ignored("lora_merge", "assembly/run.ts", "config.lora_merge && result.finished", "false"),
  ignored(
    "lr_scheduler_kwargs",
    "train/generation_batch.ts",
    "{ ...config, total_steps",
    "{ ...config, lr_scheduler_kwargs: null, total_steps",
  ),
  ignored(
    "warmup_steps",
    "train/generation_batch.ts",
    "{ ...config, total_steps",
    "{ ...config, warmup_steps: 0, total_steps",
  ),
  ignored("num_train_epochs", "config/batch.ts", "config.num_train_epochs * promptCount", "promptCount"),
  ignored("gradient_checkpointing", "train/learner.ts", 'config.gradient_checkpointing !== "auto"', "false"),
  ignored(
    "gpu_memory_gib",
    "assembly/memory.ts",
    "if (config.gpu_memory_gib !== null) return",
    "if (config.gpu_memory_gib! > 1) return",
  ),
  ignored("weight_decay", "train/optimizer.ts", "? config.weight_decay : 0", "? 0 : 0"),
  ignored("adam_beta1", "train/optimizer.ts", "beta1: config.adam_beta1", "beta1: 0.9"),
  ignored("adam_beta2", "train/optimizer.ts", "beta2: config.adam_beta2", "beta2: 0.999"),
  ignored("adam_epsilon", "train/optimizer.ts", "epsilon: config.adam_epsilon", "epsilon: 1e-8"),
  ignored("max_grad_norm", "train/optimizer.ts", "=> grad!), config.max_grad_norm)", "=> grad!), 1)"),
  ignored("eval_every", "train/due.ts", "due(config.eval_every)", "due(0)"),
  ignored(
    "eval_table_n_samples",
    "tracking/tracker.ts",
    "this.#config.eval_table_n_samples",
    "this.#config.debug_log_n_samples",
  ),
  ignored(
    "resume",
    "assembly/run.ts",
    "config.resume ? undefined : await setAside(runDir)",
    "undefined as string | undefined",
  ),
  ignored("save_steps", "train/due.ts", "due(config.save_steps)", "due(0)"),
  ignored(
    "save_total_limit",
    "train/checkpointing.ts",
    "pruneCheckpoints(runDir, config.save_total_limit,",
    "pruneCheckpoints(runDir, 1e9,",
  ),
  ignored("logging_steps", "cli/terminal/run_terminal.ts", "isDue(config.logging_steps,", "isDue(5,"),
  ignored(
    "scatter_max_points",
    "tracking/tracker.ts",
    "this.#scatter, step, record, this.#config.scatter_max_points",
    "this.#scatter, step, record, 2000",
  ),
  ignored("hist_every", "tracking/tracker.ts", "due(this.#config.hist_every)", "due(25)"),
  ignored("debug_log_every", "tracking/tracker.ts", "due(this.#config.debug_log_every)", "due(1)"),
  ignored(
    "debug_log_n_samples",
    "tracking/tracker.ts",
    "record, this.#config.debug_log_n_samples",
    "record, 64",
  ),
  ignored(
    "debug_print_first",
    "cli/terminal/run_terminal.ts",
    "!config.debug_print_first || firstStep > 1",
    "true",
  ),
  ignored(
    "debug_print_sample_chars",
    "cli/terminal/run_terminal.ts",
    "limit: config.debug_print_sample_chars,",
    "limit: 2000,",
  ),
];

/** Faults of settings that do something else than they say. */
const WRONG: readonly Fault[] = [
  {
    ...ignored(
      "scorer_timeout",
      "assembly/scorer.ts",
      "config.scorer_timeout * 1000",
      "config.scorer_timeout",
    ),
    harm: "scorer_timeout is read as milliseconds: a scorer that thinks for a second stops the run",
  },
  {
    ...ignored(
      "weight_decay",
      "train/optimizer.ts",
      "isDecayed(weight.name) ? config.weight_decay : 0",
      "config.weight_decay",
    ),
    harm: "norms are decayed, which transformers' Trainer does not do",
  },
  {
    ...ignored(
      "repetition_penalty",
      "policy/decode/options.ts",
      "    kvCacheDtype",
      "    repetitionPenalty: config.repetition_penalty,\n    kvCacheDtype",
    ),
    harm: "evaluation samples with the penalty of training",
  },
  {
    ...ignored(
      "delta",
      "rl/policy_terms.ts",
      "delta: config.delta ?? Infinity",
      "delta: config.delta ? config.delta + 1 : Infinity",
    ),
    harm: "ratios are bounded far above delta",
  },
];

const stopFault = (file: string, find: string, replace: string, harm: string): Fault => ({
  file: `src/${file}`,
  find,
  replace,
  harm,
  tests: ["e2e/stop_strings.test.ts"],
  claim: 2,
});

const STOPS: readonly Fault[] = [
  stopFault(
    "train/rollout.ts",
    "findStop: findStopIn(tokenizer, stopStrings),",
    "findStop: () => null,",
    "a stop string does not end a completion: what follows is trained on",
  ),
  stopFault(
    "train/rollout.ts",
    "    return kept;",
    "    return kept - 1;",
    "the token that completes a stop string is left out of the loss: the policy does not learn to end its turn",
  ),
  stopFault(
    "train/rollout.ts",
    "trimAtStopString(whole, stopStrings);",
    "{ text: whole };",
    "the scorer judges the stop string",
  ),
  stopFault(
    "train/rollout.ts",
    "hallucinatedTurn: hasHallucinatedTurn(whole, prompt.layout)",
    "hallucinatedTurn: hasHallucinatedTurn(text, prompt.layout)",
    "hallucinated_turn_ratio is always 0: the turn is looked for where it was cut off",
  ),
  stopFault(
    "policy/decode/generate.ts",
    'completion(kept, "stop")',
    'completion(kept, "length")',
    "completions that a stop string ended count as cut at max_completion_length",
  ),
  stopFault(
    "policy/decode/generate.ts",
    "tokens: tokens.slice(0, length)",
    "tokens",
    "tokens behind a stop string, as many as were sampled until the next look, are trained on",
  ),
  stopFault(
    "policy/decode/generate.ts",
    "if (kept !== null) return",
    "if (kept !== null && count < options.maxTokens) return",
    "a stop string that was seen at the last look ends nothing",
  ),
  stopFault(
    "train/generation_batch.ts",
    'end !== "length")',
    'end === "eos")',
    "completions that a stop string ended count as clipped",
  ),
  stopFault(
    "train/prepared_update.ts",
    'config.mask_truncated_completions && end === "length"',
    'config.mask_truncated_completions && end !== "eos"',
    "mask_truncated_completions takes completions that a stop string ended out of the loss",
  ),
  stopFault(
    "train/generation_batch.ts",
    "countOf(({ hallucinatedTurn }) => hallucinatedTurn)",
    "countOf(() => false)",
    "hallucinated_turn_ratio is always 0",
  ),
  stopFault(
    "rl/conversation.ts",
    "text: text.slice(0, end), stopString",
    "text: text.slice(0, end + 1), stopString",
    "the scorer reads the first letter of a stop string",
  ),
  stopFault(
    "rl/conversation.ts",
    "at >= 0 && at < end",
    "at >= 0 && stopString === null",
    "the first listed stop string ends a completion, though another came earlier",
  ),
  stopFault(
    "rl/conversation.ts",
    "at >= 0 && at < end",
    "at > 0 && at < end",
    "a stop string at the beginning of a completion does not end it",
  ),
  stopFault(
    "evaluate/evaluate.ts",
    "completion: text,",
    "completion: whole,",
    "an evaluation scores the made-up turn",
  ),
];

const evalFault = (file: string, find: string, replace: string, harm: string): Fault => ({
  file: `src/${file}`,
  find,
  replace,
  harm,
  tests: ["e2e/config_eval_command.test.ts", "e2e/config_effects.test.ts#eval"],
});

const EVALUATIONS: readonly Fault[] = [
  evalFault(
    "evaluate/evaluate.ts",
    "start < prompts.length;",
    "start + config.eval_batch_size <= prompts.length;",
    "prompts of a last batch that is not full are not evaluated",
  ),
  evalFault(
    "evaluate/evaluate.ts",
    "start + config.eval_batch_size)",
    "start + config.eval_batch_size - 1)",
    "the last prompt of every batch is left out",
  ),
  evalFault(
    "evaluate/evaluate.ts",
    "config.scorer_batch_size_eval",
    "deps.config.scorer_batch_size",
    "scorer_batch_size_eval does nothing",
  ),
  evalFault(
    "evaluate/evaluate.ts",
    "combineScores(rewards, costs, lambda)",
    "combineScores(rewards, costs, 1)",
    "eval/mean_combined is that of lambda 1",
  ),
  evalFault(
    "evaluate/evaluate.ts",
    "greedyOptions(policy, config)",
    "{ ...greedyOptions(policy, config), temperature: config.temperature }",
    "evaluations are drawn at random",
  ),
  evalFault(
    "evaluate/evaluate.ts",
    "scorer.score(answers,",
    "scorer.score(answers.reverse(),",
    "completions are scored as answers to other prompts",
  ),
  evalFault(
    "evaluate/evaluate.ts",
    "completions.push(",
    "completions.unshift(",
    "completions stand beside other prompts",
  ),
  evalFault(
    "assembly/evaluation.ts",
    "judgementsOf(points, lambda)",
    "judgementsOf(points, 1)",
    "eval's mean of combined scores is that of lambda 1",
  ),
  evalFault(
    "assembly/evaluation.ts",
    "givenLambda ?? trained?.lambda ??",
    "givenLambda ??",
    "a run's folder is judged by another lambda than its run",
  ),
  evalFault(
    "assembly/evaluation.ts",
    "step: trained?.step ?? 0",
    "step: 0",
    "eval.json says step 0 of a trained model",
  ),
  evalFault(
    "assembly/evaluated_run.ts",
    "row.step <= step &&",
    "",
    "a checkpoint is told the step and lambda of its run's end",
  ),
  {
    file: "src/train/loop.ts",
    find: "start.step === 0 && config.eval_on_start",
    replace: "start.step === 0 && false",
    harm: "nobody sees what the policy was before",
    tests: ["gpu/training_cadence.test.ts", "e2e/config_effects.test.ts#eval_on_start="],
  },
  {
    file: "src/train/loop.ts",
    find: "start.step === 0 && config.eval_on_start",
    replace: "config.eval_on_start",
    harm: "a run that goes on evaluates where it should not",
    tests: ["gpu/training_cadence.test.ts"],
  },
  evalFault(
    "cli/eval.ts",
    "options.output ?? await defaultFolder(",
    "await defaultFolder(",
    "--output does nothing",
  ),
  evalFault(
    "evaluate/parts.ts",
    "reward: rounded(scores.rewards[i], dtype)",
    "reward: rounded(scores.rewards[i] - scores.costs[i], dtype)",
    "eval_samples.jsonl holds combined scores as rewards",
  ),
  evalFault(
    "assembly/evaluation.ts",
    "tokenizer, config, events);",
    "tokenizer, { ...config, max_prompt_length: 512 }, events);",
    "eval reads prompts longer than max_prompt_length",
  ),
  evalFault(
    "assembly/evaluation.ts",
    "await loadEvalPrompts(givenRows ?? config.eval_jsonl!, tokenizer, config,",
    'await loadEvalPrompts(givenRows ?? config.eval_jsonl!, tokenizer, { ...config, prompt_key: "prompt" },',
    "eval reads another key than prompt_key",
  ),
  evalFault(
    "assembly/evaluation.ts",
    "if (config.eval_jsonl === null && !givenRows) {",
    "if (config.eval_jsonl === undefined) {",
    "without eval_jsonl, eval fails with words about null",
  ),
  evalFault("cli/eval.ts", "  return 0;\n}", "  return 1;\n}", "an evaluation that went well exits with 1"),
  evalFault(
    "assembly/evaluation.ts",
    'loadPolicy(modelName, "frozen",',
    'loadPolicy("models/quickstart/policy", "frozen",',
    "eval evaluates another model than model_name",
  ),
  evalFault(
    "train/due.ts",
    "deps.evaluate(lambda, ",
    "deps.evaluate(run.config.lambda_cost, ",
    "an evaluation amid a run combines scores with the lambda that the run began with",
  ),
];

const lineFault = (file: string, find: string, replace: string, harm: string): Fault => ({
  file: `src/${file}`,
  find,
  replace,
  harm,
  tests: ["e2e/config_command_line.test.ts"],
});

const COMMAND_LINE: readonly Fault[] = [
  lineFault(
    "config/fields.ts",
    "z.string().regex(/^file:./)",
    "z.never()",
    "on a cluster no run starts: scorer_url: file:PATH is refused",
  ),
  lineFault("cli/options.ts", "seed: options.seed,", "seed: undefined,", "--seed does nothing"),
  lineFault("cli/options.ts", 'options.beta.join(",")', "undefined", "--beta does nothing"),
  lineFault("cli/options.ts", "=> [...all, value]", "=> [value, ...all]", "the first --set of a key wins"),
  lineFault("cli/eval.ts", "if (options.dryRun) {", "if (!options) {", "eval --dry-run evaluates"),
  lineFault("cli/doctor/doctor.ts", "if (options.dryRun && ", "if (false && ", "doctor --dry-run diagnoses"),
  lineFault(
    "cli/options.ts",
    "configs/quickstart.yaml",
    "configs/grpo_alignment.yaml",
    "the first run takes a GPU and 7B models",
  ),
];

export const faults: readonly Fault[] = [...IGNORED, ...WRONG, ...STOPS, ...EVALUATIONS, ...COMMAND_LINE];
