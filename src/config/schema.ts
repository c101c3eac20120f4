/**
 * The configuration: the only home of each key's name, default, type, range and help text. The YAML file, the
 * command line, docs/config.md and the logged run config all use these spellings.
 */
import { z } from "zod";
import { ADVANTAGE_COMPOSITIONS } from "../rl/composition.ts";
import type { LambdaRuleName } from "../rl/lambda/rule.ts";
import { LAMBDA_RULE_NAMES, LAMBDA_RULES } from "../rl/lambda/rules.ts";
import { LOSS_TYPE_NAMES, LOSS_TYPES, type LossType } from "../rl/loss_types.ts";
import { IMPORTANCE_SAMPLING_MODES } from "../rl/sampler_weights.ts";
import { LR_SCHEDULER_TYPES, REFUSED_SCHEDULER_TYPES } from "../rl/schedules.ts";
import {
  addressesOrNull,
  argumentsOrNull,
  countOrShare,
  entriesOrNull,
  type FieldMeta,
  flag,
  flagOrAuto,
  flagOrNull,
  integer,
  integerListOrNull,
  integerOrNull,
  labelOrNull,
  listOrWord,
  number,
  numberOrList,
  numberOrNull,
  oneOf,
  path,
  pathOrNull,
  someOf,
  stageOrAuto,
  text,
  textList,
  textListOrNull,
  textOrNull,
  valuesOrNull,
  wordOrFileOrNull,
} from "./fields.ts";
import { deepFreeze } from "./freeze.ts";
import { REPORTERS } from "./reporters.ts";
import { SCORER_ROUTES } from "./scorer_apis.ts";

const MODEL = "Model and prompts";
const SCORER = "Scorer";
const LAMBDA = "Lambda";
const SAMPLING = "Sampling";
const LOSS = "Loss";
const ADAPTER = "Adapter";
const OPTIMIZER = "Optimizer and batch";
const EVALUATION = "Evaluation";
const OUTPUT = "Output and logging";

/** The linear layers of a transformer layer, by the names that PEFT's target_modules takes; fused ones are Phi-3's. */
const LINEAR_MODULES = [
  "q_proj",
  "k_proj",
  "v_proj",
  "o_proj",
  "gate_proj",
  "up_proj",
  "down_proj",
  "qkv_proj",
  "gate_up_proj",
] as const;

/** "NAME what it does". */
const lossTypeHelp = (name: LossType) => `${name} ${LOSS_TYPES[name].help}`;

/** "NAME what it does". */
const lambdaRuleHelp = (name: LambdaRuleName) => `${name}: ${LAMBDA_RULES[name].help}`;

/** A sentence for a loss type that reads epsilon_high in another way than the others; none for those. */
const epsilonHighHelp = (name: LossType): string[] => {
  const { epsilonHigh } = LOSS_TYPES[name].policyTerm;
  return epsilonHigh ? [`With ${name} ${epsilonHigh.meaning}.`] : [];
};

/** Seeds and counters are u32 words of the random number generator. */
const U32_MAX = 2 ** 32 - 1;

/** All keys but those whose entries may set some of these again. */
const Plain = z.strictObject({
  model_name: path("models/quickstart/policy", [
    MODEL,
    "Policy to train (Llama family): a directory in Hugging Face layout, or a hub id (org/name, org/name@revision) " +
    "that is downloaded and pinned to its commit.",
  ]),
  train_jsonl: path("models/quickstart/train_prompts.jsonl", [
    MODEL,
    "Training prompts: a file of JSON Lines, of a JSON array or of Parquet, gzipped or not, or a data set on the " +
    "hub: hf:org/name/split, hf:org/name@revision/config/split.",
    "free",
  ]),
  eval_jsonl: pathOrNull("models/quickstart/eval_prompts.jsonl", [
    MODEL,
    "Evaluation prompts, likewise; null for no evaluation.",
    "free",
  ]),
  allow_new_prompts: flag(false, [
    MODEL,
    "Go on where the content of train_jsonl or eval_jsonl is another than the run began with; false refuses that. " +
    "The next step takes the prompts that a run begun with the new ones would take there.",
    "free",
  ]),
  prompt_key: text("prompt", [
    MODEL,
    "Key of the prompt in each row: a text, or a list of messages (role, content) that the user's ends. Rows that " +
    "hold messages in its place are read too.",
  ]),
  skip_bad_rows: flag(false, [
    MODEL,
    "Leave out rows without a usable prompt, and say how many; false stops at the first.",
  ]),
  chat_template: wordOrFileOrNull(["beaver", "model", "none"], null, [
    MODEL,
    "What stands around a prompt. beaver: BEGINNING OF CONVERSATION: USER: ... ASSISTANT:; model: the tokenizer's " +
    "own chat template; file:PATH: another (Jinja); none: nothing, a prompt's control tokens count. null takes the " +
    "tokenizer's own where it has one, else beaver.",
  ]),
  system_prompt: textOrNull(null, [
    MODEL,
    "System message before conversations that bring none; needs a chat template.",
  ]),
  chat_template_kwargs: valuesOrNull(null, [
    MODEL,
    "Further variables of the chat template, such as enable_thinking: false.",
  ]),
  max_samples: integerOrNull(null, { min: 1 }, [
    MODEL,
    "Use only the first so many training prompts; null for all. Evaluation prompts are never cut.",
  ]),
  dtype: oneOf(["float32", "bfloat16"], "float32", [
    MODEL,
    "How trained matrices are held for forward and backward; bfloat16 keeps f32 values beside, for the optimizer. " +
    "Frozen weights stay as they are stored.",
  ]),
  matmul_precision: oneOf(["auto", "float32", "float16"], "auto", [
    MODEL,
    "How linear layers multiply. float16: on a GPU's matrix units (tensor cores), inputs rounded to 11 significant " +
    "bits, sums in f32; weights' gradients stay f32; needs such a GPU, and Node. auto: float16 where it can be, else " +
    "float32.",
  ]),
  max_prompt_length: integer(512, { min: 1 }, [
    MODEL,
    "Tokens of a prompt; where it is longer, the end of the last user message is cut and all else stays whole.",
  ]),
  seed: integer(42, { min: 0, max: U32_MAX }, [
    MODEL,
    "Seed of the prompt order and of sampling. The same seed gives the same run.",
  ]),

  scorer_url: addressesOrNull(null, [
    SCORER,
    "Address of the scorer service, or file:PATH of a file that will hold it, a line each; of several, a list or " +
    "with commas between, each rank asks the least busy, and another where one fails; null serves reward_model and " +
    "cost_model in this process.",
    "free",
  ]),
  cost_scorer_url: addressesOrNull(null, [
    SCORER,
    "Address of the service that gives costs, where scorer_url gives rewards alone; null: scorer_url gives both.",
    "free",
  ]),
  scorer_api: oneOf(["beaver", "openrlhf", "vllm_classify", "tei_predict"], "beaver", [
    SCORER,
    "What the services speak: beaver is `npm run scorer` (POST /score_batch), openrlhf a remote reward model of " +
    "OpenRLHF (POST /get_reward where the address has no path), vllm_classify POST /classify of vLLM, tei_predict " +
    "POST /predict of Text Embeddings Inference; of the last two the score is a label's logit.",
  ]),
  scorer_input: oneOf(["query", "completion", "pair", "messages"], "query", [
    SCORER,
    "What a service of another kind than beaver judges. query: prompt and completion as the policy read and wrote " +
    "them, control tokens included; completion: that alone; pair (tei_predict): the prompt's own words and the " +
    "completion as two texts; messages (vllm_classify): the conversation, by the served model's chat template.",
  ]),
  scorer_label_key: textOrNull(null, [
    SCORER,
    "Column of the prompts' rows that openrlhf services get as `labels`; null for none.",
  ]),
  reward_model: path("models/quickstart/reward", [
    SCORER,
    "Reward model, a directory or hub id, used when scorer_url is null: a score model of safe-rlhf, or one of " +
    "transformers (...ForSequenceClassification), which reads conversations by its own chat template.",
  ]),
  cost_model: path("models/quickstart/cost", [
    SCORER,
    "Cost model, a directory or hub id, used when scorer_url is null; the same kinds as reward_model.",
  ]),
  reward_label: labelOrNull([
    SCORER,
    "Label of a classifier whose score is the reward, by index or name; null where it has one.",
  ]),
  cost_label: labelOrNull([
    SCORER,
    "Label of a classifier whose score is the cost (the one that stands for harm: a higher cost is less safe); null " +
    "where it has one.",
  ]),
  reward_functions: textList([], [
    SCORER,
    "Reward functions of your own (TRL's reward_funcs and reward_weights), as FILE#EXPORT or FILE#EXPORT:WEIGHT of " +
    "TypeScript or JavaScript files; weight 0 only watches. A function is called with a list of answers " +
    "{prompt, completion, columns, ...} and gives a number for each. They judge in the place of the score models, " +
    "or beside scorer_url where that is set.",
  ]),
  cost_functions: textList([], [SCORER, "Cost functions of your own, likewise; without any the cost is 0."]),
  scorer_batch_size: integer(32, { min: 1 }, [
    SCORER,
    "Completions per scoring request while training.",
    "free",
  ]),
  scorer_batch_size_eval: integer(32, { min: 1 }, [
    SCORER,
    "Completions per scoring request while evaluating.",
    "free",
  ]),
  scorer_max_length: integer(512, { min: 1 }, [
    SCORER,
    "Tokens of a conversation the in-process scorer reads.",
  ]),
  scorer_timeout: number(300, { above: 0 }, [SCORER, "Seconds to wait for one scoring request.", "free"]),
  scorer_retry_max_s: number(600, { min: 0, max: 1e6 }, [
    SCORER,
    "Seconds that a scorer may be away (refused or lost connections, timeouts, 408, 425, 429, 5xx) before the run " +
    "saves and ends with exit code 75; 0: it is not asked again.",
    "free",
  ]),
  scorer_max_abs_score: number(1e6, { above: 0 }, [
    SCORER,
    "Rewards and costs beyond this, up or down, are refused as a broken scorer's.",
    "free",
  ]),
  scorer_route: oneOf(SCORER_ROUTES, "score_batch", [
    SCORER,
    "Where a service that speaks beaver is asked: score_batch for prompts and completions, score_texts for whole " +
    "conversations (BEGINNING OF CONVERSATION: USER: ... ASSISTANT:...).",
    "free",
  ]),
  scorer_token_file: pathOrNull(null, [
    SCORER,
    "File of the bearer token that scorers ask for; null: that beside a URL file (PATH.token), else SCORER_TOKEN of " +
    "the environment, else none.",
    "free",
  ]),

  lambda_rule: oneOf(LAMBDA_RULE_NAMES, "log_ema", [
    LAMBDA,
    `How lambda follows the costs (docs/constraints.md). ${
      LAMBDA_RULE_NAMES.map(lambdaRuleHelp).join("; ")
    }.`,
  ]),
  lambda_cost: number(1, { min: 0 }, [
    LAMBDA,
    "Start value of lambda in combined = reward - lambda * cost; of pid that of its sum.",
  ]),
  lambda_adapt: flag(true, [
    LAMBDA,
    "With false lambda stays as it is: the reference's word for lambda_rule: fixed.",
  ]),
  cost_threshold_d: number(0, {}, [
    LAMBDA,
    "Added to the mean cost: J = mean(cost) + d is to be brought to 0.",
  ]),
  cost_bound: oneOf(["mean", "pessimistic"], "mean", [
    LAMBDA,
    "What of a batch's costs enters J: their mean, or Student's upper bound of it, so that lambda rests only where " +
    "the batch shows with cost_confidence that the limit is kept.",
  ]),
  cost_confidence: number(0.9, { min: 0.5, below: 1 }, [LAMBDA, "Confidence of that bound, one-sided."]),
  lambda_lr: number(0.005, { min: 0 }, [
    LAMBDA,
    "Step size of ln(lambda) per unit of averaged J: of log_ema, signed and per_prompt.",
  ]),
  lambda_min: number(1e-4, { above: 0 }, [LAMBDA, "Lower bound of lambda of these rules; pid's is 0."]),
  lambda_max: number(5, { above: 0 }, [LAMBDA, "Upper bound of lambda."]),
  jc_ema_beta: number(0.9, { min: 0, below: 1 }, [LAMBDA, "Memory of the moving average of J."]),
  lambda_pos_cost_only: flag(true, [
    LAMBDA,
    "Count only J > 0, so that lambda never falls; false is the reference's word for lambda_rule: signed.",
  ]),
  lambda_kp: number(0.1, { min: 0 }, [LAMBDA, "Of pid: lambda per unit of averaged J."]),
  lambda_ki: number(0.01, { min: 0 }, [
    LAMBDA,
    "Of pid: what a unit of J adds to lambda for good, each batch.",
  ]),
  lambda_kd: number(0.01, { min: 0 }, [LAMBDA, "Of pid: lambda per unit that the averaged J rises."]),
  lambda_d_delay: integer(10, { min: 1 }, [LAMBDA, "Of pid: batches over which that rise is taken."]),
  lambda_dual_beta: number(0.1, { above: 0 }, [
    LAMBDA,
    "Of one_shot: weight of the KL divergence in the dual, in units of the reward.",
  ]),
  lambda_dual_prompts: integer(64, { min: 1 }, [
    LAMBDA,
    "Of one_shot: prompts whose completions (num_generations of each) are scored before the first step, in whole " +
    "generation batches.",
  ]),

  lambda_scope: oneOf(["global", "rank"], "global", [
    LAMBDA,
    "With several ranks: one lambda from the costs of all of them, or one on each from its own; rank 0's is logged.",
  ]),

  num_generations: integer(30, { min: 2 }, [SAMPLING, "Completions per prompt: the group of GRPO."]),
  max_completion_length: integer(512, { min: 1 }, [SAMPLING, "Tokens of a completion."]),
  temperature: number(0.7, { above: 0 }, [
    SAMPLING,
    "Divides the logits, in sampling and in the loss alike. Evaluation is greedy.",
  ]),
  top_p: number(1, { above: 0, max: 1 }, [
    SAMPLING,
    "Sample from the smallest set of tokens with this mass.",
  ]),
  top_k: integer(0, { min: 0 }, [SAMPLING, "Sample from the so many likeliest tokens; 0 for all."]),
  min_p: numberOrNull(null, { min: 0, max: 1 }, [
    SAMPLING,
    "Least probability of a token, as a share of the likeliest one's; null for none. After top_k and top_p.",
  ]),
  repetition_penalty: number(1, { above: 0 }, [
    SAMPLING,
    "Divides positive logits of tokens already in prompt or completion, multiplies negative ones; 1 for none. " +
    "Only training samples with it: the loss and evaluation do not know it.",
  ]),
  stop_strings: textListOrNull(null, [
    SAMPLING,
    "A completion ends where it writes one of these: the policy began a turn that is the user's. null: USER: with " +
    "chat_template beaver, else none.",
  ]),
  eos_token_ids: integerListOrNull(null, { min: 0 }, [
    SAMPLING,
    "Ids of the tokens that end a completion; null for those that config.json, generation_config.json and the " +
    "tokenizer name, together.",
  ]),
  readback_every: integer(16, { min: 1 }, [
    SAMPLING,
    "Tokens generated between two looks at which completions have ended.",
    "free",
  ]),
  kv_cache_dtype: oneOf(["auto", "float32", "bfloat16", "float16"], "auto", [
    SAMPLING,
    "How keys and values of sampled tokens are kept. 16 bits halve that memory and round: tokens are then drawn from " +
    "log-probs a little off those of training (importance_sampling_correction). auto: float16, and float32 on a CPU " +
    "that plays a GPU.",
  ]),

  loss_type: oneOf(LOSS_TYPE_NAMES, "grpo", [
    LOSS,
    `How token losses are averaged, as in TRL: ${LOSS_TYPE_NAMES.map(lossTypeHelp).join("; ")}.`,
  ]),
  importance_sampling_level: oneOf(["token", "sequence"], "token", [
    LOSS,
    "Whether each token has its own probability ratio, or a completion has one (GSPO).",
  ]),
  beta: numberOrList(0.01, { min: 0 }, [
    LOSS,
    "KL coefficient; 0 needs no reference policy. A list runs one training per value.",
  ]),
  use_bias_correction_kl: flag(true, [
    LOSS,
    "Multiply the KL term by the ratio: the gradient of reverse KL without bias; false for plain k3.",
  ]),
  epsilon: number(0.2, { above: 0, below: 1 }, [LOSS, "Clip range of the probability ratio."]),
  epsilon_high: numberOrNull(null, { above: 0 }, [
    LOSS,
    ["Upper clip range; null for epsilon.", ...LOSS_TYPE_NAMES.flatMap(epsilonHighHelp)].join(" "),
  ]),
  delta: numberOrNull(null, { above: 0 }, [
    LOSS,
    "Upper bound of ratios that clipping leaves alone (two-sided clipping); null for none.",
  ]),
  sapo_temperature_neg: number(1.05, { above: 0 }, [
    LOSS,
    "How steeply the gate of loss_type sapo closes for tokens whose advantage is 0 or less.",
  ]),
  sapo_temperature_pos: number(1, { above: 0 }, [
    LOSS,
    "The same for tokens whose advantage is above 0.",
  ]),
  vespo_k_pos: number(2, { min: 0 }, [
    LOSS,
    "Exponent of the completion's ratio in the weight of loss_type vespo, where the advantage is 0 or more: how much " +
    "less completions count that have become unlikely.",
  ]),
  vespo_lambda_pos: number(3, { min: 0 }, [
    LOSS,
    "Decay of that weight, likewise: how much less completions count that have become likelier.",
  ]),
  vespo_k_neg: number(3, { min: 0 }, [LOSS, "The exponent where the advantage is below 0."]),
  vespo_lambda_neg: number(2, { min: 0 }, [LOSS, "The decay where the advantage is below 0."]),
  off_policy_mask_threshold: numberOrNull(null, { above: 0 }, [
    LOSS,
    "Leave the policy terms of a completion out whose advantage is negative and whose tokens have become less likely " +
    "by more than so many nats on average since they were sampled; null for none.",
  ]),
  top_entropy_quantile: number(1, { min: 0, max: 1 }, [
    LOSS,
    "Share of the tokens of an optimizer step, those of the highest entropy, whose policy terms count: 0 the highest " +
    "alone, 1 all (the paper takes 0.2). Below 1, each step takes one forward pass more.",
  ]),
  entropy_coef: number(0, {}, [
    LOSS,
    "What the mean entropy of the tokens (of those that top_entropy_quantile keeps) of an optimizer step is taken " +
    "from the loss with; 0 for no bonus.",
  ]),
  use_adaptive_entropy: flag(false, [
    LOSS,
    "Raise entropy_coef by entropy_coef_delta after steps whose mean entropy is at most entropy_target, and lower it " +
    "after others; it applies while the step before was at most the target. Each step takes one forward pass more.",
  ]),
  entropy_coef_min: number(0, {}, [LOSS, "Lower bound of the coefficient that adapts."]),
  entropy_coef_max: number(1, {}, [LOSS, "Upper bound of the coefficient that adapts."]),
  entropy_coef_delta: number(0.005, { min: 0 }, [LOSS, "How much it adapts after a step."]),
  entropy_target: number(0.2, { min: 0 }, [
    LOSS,
    "Mean entropy, nats per token, up to which it applies and grows; set it near the `entropy` that is logged first.",
  ]),
  sync_ref_model: flag(false, [
    LOSS,
    "Let the reference policy follow the one that is trained (TR-DPO). It is then held in f32, and in checkpoints. " +
    "Needs beta, and training of all weights.",
  ]),
  ref_model_mixup_alpha: number(0.6, { min: 0, max: 1 }, [
    LOSS,
    "How much of the policy the reference takes on each time: alpha policy + (1 - alpha) reference.",
  ]),
  ref_model_sync_steps: integer(512, { min: 1 }, [
    LOSS,
    "Optimizer steps between these times.",
  ]),
  importance_sampling_correction: flagOrAuto("auto", [
    LOSS,
    "Multiply policy terms by the probability of training over that of sampling, bounded (TRL's " +
    "vllm_importance_sampling_correction). auto: where the two may differ, as with 16 bits in kv_cache_dtype or " +
    "matmul_precision; in float32 they are the same bits.",
  ]),
  importance_sampling_mode: oneOf(IMPORTANCE_SAMPLING_MODES, "sequence_mask", [
    LOSS,
    "Whether each token has its own such ratio, or a completion the product of its tokens'; and whether one beyond " +
    "the bounds becomes the bound (truncate) or 0 (mask).",
  ]),
  importance_sampling_clip_min: numberOrNull(null, { min: 0 }, [
    LOSS,
    "Lower bound of such a ratio; null for none.",
  ]),
  importance_sampling_clip_max: numberOrNull(3, { above: 0 }, [
    LOSS,
    "Upper bound of such a ratio; null for none.",
  ]),
  num_iterations: integer(1, { min: 1 }, [
    LOSS,
    "How often a generation batch is trained on (mu of the GRPO paper).",
  ]),
  scale_rewards: oneOf(["group", "batch", "none"], "group", [
    LOSS,
    "Whose standard deviation divides the advantages.",
  ]),
  mask_truncated_completions: flag(false, [
    LOSS,
    "Leave completions that were cut at max_completion_length out of the loss.",
  ]),

  use_peft: flag(false, [
    ADAPTER,
    "Train low-rank adapters (LoRA) beside frozen weights instead of all weights. " +
    "The policy without them is the reference.",
  ]),
  lora_r: integer(16, { min: 1 }, [ADAPTER, "Rank of the adapters."]),
  lora_alpha: number(32, { above: 0 }, [
    ADAPTER,
    "An adapter's output is multiplied by lora_alpha / lora_r.",
  ]),
  lora_dropout: number(0, { min: 0, below: 1 }, [
    ADAPTER,
    "Only 0 is accepted: with dropout the policy that is trained is not the one that sampled.",
  ]),
  lora_target_modules: someOf(LINEAR_MODULES, "all-linear", ["q_proj", "v_proj"], [
    ADAPTER,
    "Which linear layers get an adapter; in Phi-3 those of attention's input are qkv_proj, of the MLP's gate_up_proj.",
  ]),
  use_rslora: flag(false, [ADAPTER, "Multiply by lora_alpha / sqrt(lora_r) instead."]),
  lora_merge: flag(false, [
    ADAPTER,
    "At the end also write the whole model, adapters merged into the weights, to the folder merged/ of the run.",
    "free",
  ]),
  lora_merge_dtype: oneOf(["float32", "bfloat16", "float16", "base"], "float32", [
    ADAPTER,
    "Type of the merged weights; base is the one that the base model's file holds them in. 16 bits round away much " +
    "of what a short run changed; the merge says how much it kept.",
    "free",
  ]),
  lora_merge_bin: flag(false, [
    ADAPTER,
    "Write the merged model as pytorch_model.bin too.",
    "free",
  ]),

  learning_rate: number(5e-6, { above: 0 }, [OPTIMIZER, "Peak learning rate of AdamW.", "named"]),
  lr_scheduler_type: oneOf(LR_SCHEDULER_TYPES, "constant", [
    OPTIMIZER,
    "Learning-rate schedule, as in transformers.",
    "named",
  ], REFUSED_SCHEDULER_TYPES),
  lr_scheduler_kwargs: argumentsOrNull(null, [
    OPTIMIZER,
    "Further arguments of the schedule by transformers' names, as in {num_cycles: 2}.",
    "named",
  ]),
  warmup_steps: countOrShare(0, [
    OPTIMIZER,
    'Optimizer steps of linear warm-up, or below 1 their share of all steps; "constant" has none.',
    "named",
  ]),
  num_train_epochs: number(1, { above: 0 }, [
    OPTIMIZER,
    "Passes over the prompts, where max_steps is -1.",
    "named",
  ]),
  max_steps: integer(500, { min: -1 }, [
    OPTIMIZER,
    "Optimizer steps; -1 for num_train_epochs passes.",
    "named",
  ]),
  per_device_train_batch_size: integer(1, { min: 1 }, [
    OPTIMIZER,
    "Completions per pass (forward and backward) on a device; times devices and passes, whole groups. A GPU that it " +
    "does not fill takes several passes at once where there is memory: the sums are the same.",
    "named",
  ]),
  gradient_accumulation_steps: integer(60, { min: 1 }, [
    OPTIMIZER,
    "Passes per optimizer step.",
    "named",
  ]),
  steps_per_generation: integerOrNull(null, { min: 1 }, [
    OPTIMIZER,
    "Passes per generation batch, a multiple of gradient_accumulation_steps; null for one optimizer step.",
    "named",
  ]),
  gradient_checkpointing: flagOrAuto("auto", [
    OPTIMIZER,
    "Keep of each layer its input alone and run it again in backward: less memory, a third more work, the same bits; " +
    "auto where the run's memory asks for it, or, where that cannot be told, for models above 1B parameters.",
    "free",
  ]),
  gpu_memory_gib: numberOrNull(null, { above: 0 }, [
    OPTIMIZER,
    "GPU memory in GiB that the run may take; null for what the machine has, where that can be asked.",
    "free",
  ]),
  weight_decay: number(0, { min: 0 }, [
    OPTIMIZER,
    "Decoupled weight decay of AdamW; biases and norms have none, as in transformers.",
    "named",
  ]),
  adam_beta1: number(0.9, { min: 0, below: 1 }, [OPTIMIZER, "Memory of the gradient average of AdamW."]),
  adam_beta2: number(0.999, { min: 0, below: 1 }, [
    OPTIMIZER,
    "Memory of the squared-gradient average of AdamW.",
  ]),
  adam_epsilon: number(1e-8, { above: 0 }, [OPTIMIZER, "Added to the denominator of AdamW."]),
  max_grad_norm: number(1, { min: 0 }, [
    OPTIMIZER,
    "Global gradient norm is clipped to this; 0 for no clipping.",
    "named",
  ]),
  max_nonfinite_steps: integer(3, { min: 1 }, [
    OPTIMIZER,
    "A step whose loss or gradient is infinite or NaN is skipped: weights and moments stay to the bit, step number " +
    "and schedule go on, nonfinite_steps counts it. After so many in a row the run ends, saved, with the last of " +
    "their batches in nonfinite/ of its folder.",
    "free",
  ]),
  zero_stage: stageOrAuto([0, 2], [
    OPTIMIZER,
    "With several ranks, what of training each holds whole. 0: all; gradients are summed in one exchange. 2 (ZeRO): " +
    "the optimizer's state and f32 values of packed weights are shared out, and gradients too where there is no room " +
    "for them; updated weights are gathered. auto: 2 where all weights are trained, 0 with adapters.",
    "free",
  ]),
  reduce_bucket_size: integer(5e8, { min: 1 }, [
    OPTIMIZER,
    "Gradient values that ranks sum in one exchange; more than 2^24 (64 MiB) bring nothing and count as that.",
    "free",
  ]),
  allgather_bucket_size: integer(5e8, { min: 1 }, [
    OPTIMIZER,
    "Updated values that ranks gather in one exchange, likewise.",
    "free",
  ]),
  overlap_comm: flag(true, [
    OPTIMIZER,
    "Whether ranks exchange one bucket while the GPU fills the next; false takes the memory of one bucket less.",
    "free",
  ]),
  communication_dtype: oneOf(["auto", "float32", "bfloat16"], "auto", [
    OPTIMIZER,
    "What gradients travel as between ranks; sums are f32. auto: bfloat16 where dtype is bfloat16 and all weights " +
    "are trained, else float32.",
  ]),
  deepspeed_config: pathOrNull(null, [
    OPTIMIZER,
    "A DeepSpeed configuration (JSON; TRL's deepspeed): stage, buckets, bf16 and types become the settings above, " +
    "batch and clipping must agree with these or be auto; stage 3 and offloading are refused. null for none.",
    "free",
  ]),

  eval_every: integer(100, { min: 0 }, [
    EVALUATION,
    "Optimizer steps between evaluations; 0 for one at the end only.",
    "free",
  ]),
  eval_on_start: flag(true, [
    EVALUATION,
    "Evaluate the policy before its first step too, so that a run shows before and after.",
    "free",
  ]),
  eval_batch_size: integer(64, { min: 1 }, [EVALUATION, "Prompts generated for at a time.", "free"]),
  per_device_eval_batch_size: integer(2, { min: 1 }, [
    EVALUATION,
    "Accepted so that existing files load; eval_batch_size decides.",
    "free",
  ]),
  metric_for_best_model: textOrNull(null, [
    EVALUATION,
    "Metric of the evaluation that says which step is the best, as eval/safe_ratio, or without eval/; its checkpoint " +
    "is kept, whatever save_steps and save_total_limit are. The evaluation before the first step does not count. " +
    "null: none is the best.",
    "free",
  ]),
  greater_is_better: flagOrNull(null, [
    EVALUATION,
    "Whether more of that metric is better; null: less of costs, more of all others.",
    "free",
  ]),
  load_best_model_at_end: flag(false, [
    EVALUATION,
    "Write the weights of the best step as the final ones, in the place of the last step's.",
    "free",
  ]),
  early_stopping_patience: integerOrNull(null, { min: 1 }, [
    EVALUATION,
    "End the run after so many evaluations in a row without improvement; null for never.",
    "free",
  ]),
  early_stopping_threshold: number(0, { min: 0 }, [
    EVALUATION,
    "How much better than the best an evaluation must be to count as improvement there.",
    "free",
  ]),
  eval_table_n_samples: integer(16, { min: 0 }, [EVALUATION, "Rows of the evaluation table.", "free"]),

  output_dir: path("outputs", [
    OUTPUT,
    "Folder of the runs; each writes to beta{beta}_seed{seed}_unified inside it.",
    "free",
  ]),
  report_to: listOrWord(REPORTERS, ["auto", "none"], "auto", [
    OUTPUT,
    "What measurements are copied to, beside metrics.jsonl, samples/ and report.html. auto: TensorBoard, and W&B " +
    "where WANDB_API_KEY, ~/.netrc or WANDB_MODE names it. trackio needs TRACKIO_SERVER_URL and TRACKIO_WRITE_TOKEN.",
    "free",
  ]),
  run_name: textOrNull(null, [
    OUTPUT,
    "What W&B shows the run as; null for grpo_align_beta{beta}_seed{seed}_unified_n{prompts}. WANDB_NAME goes before " +
    "it.",
    "free",
  ]),
  project: text("grpo_alignment", [OUTPUT, "Project in W&B; WANDB_PROJECT goes before it.", "free"]),
  entity: textOrNull(null, [
    OUTPUT,
    "User or team in W&B; null for the owner of the key. WANDB_ENTITY goes before it.",
    "free",
  ]),
  resume: flag(true, [
    OUTPUT,
    "Go on from the newest checkpoint of the same configuration; false starts over and keeps the old folder aside.",
    "free",
  ]),
  check_ranks_every: integer(100, { min: 0 }, [
    OUTPUT,
    "Optimizer steps between checks that all ranks hold the same weights; a difference ends the run. 0 for never.",
    "free",
  ]),
  save_steps: integer(250, { min: 0 }, [
    OUTPUT,
    "Optimizer steps between checkpoints; 0 for one at the end only.",
    "free",
  ]),
  save_total_limit: integerOrNull(null, { min: 1 }, [
    OUTPUT,
    "Newest checkpoints to keep; null for all.",
    "free",
  ]),
  logging_steps: integer(5, { min: 1 }, [OUTPUT, "Optimizer steps between log lines.", "free"]),
  scatter_every: integer(50, { min: 0 }, [
    OUTPUT,
    "Optimizer steps between reward-against-cost plots; 0 for none.",
    "free",
  ]),
  scatter_max_points: integer(2000, { min: 1 }, [OUTPUT, "Points of such a plot at most.", "free"]),
  log_completions: oneOf(["table", "all"], "table", [
    OUTPUT,
    "Which completions a run keeps. table: some of a step, as debug_log_every and debug_log_n_samples say; all: each " +
    "one besides, in rollouts/STEP.jsonl.gz, with its tokens, log-probs, scores and advantage (npm run rollouts).",
    "free",
  ], { true: "set log_completions=all", false: "set log_completions=table" }),
  tensorboard_names: oneOf(["plain", "hf"], "plain", [
    OUTPUT,
    "Names in TensorBoard. plain: as in metrics.jsonl; hf: as transformers has them, train/ before TRL's.",
    "free",
  ]),
  hist_every: integer(25, { min: 0 }, [
    OUTPUT,
    "Optimizer steps between histograms of reward and cost; 0 for none.",
    "free",
  ]),
  debug_log_every: integer(1, { min: 0 }, [
    OUTPUT,
    "Optimizer steps between sample tables; 0 for none.",
    "free",
  ]),
  debug_log_n_samples: integer(16, { min: 0 }, [OUTPUT, "Rows of such a table.", "free"]),
  debug_print_first: flag(true, [OUTPUT, "Print samples of the first batch to the terminal.", "free"]),
  debug_print_samples_per_batch: integer(3, { min: 0 }, [OUTPUT, "How many samples that prints.", "free"]),
  debug_print_sample_chars: integer(2000, { min: 1 }, [OUTPUT, "Characters printed of each.", "free"]),
});

/** The type of a key in an entry of `costs`: left out, the setting of that name holds. */
const own = <T extends z.core.SomeType>(field: z.ZodDefault<T>) => z.optional(field.unwrap());

/** What an entry of `costs` may set for its cost alone; names are those of the settings. */
const OWN_LAMBDA = {
  lambda_rule: own(Plain.shape.lambda_rule),
  cost_threshold_d: own(Plain.shape.cost_threshold_d),
  lambda_cost: own(Plain.shape.lambda_cost),
  lambda_adapt: own(Plain.shape.lambda_adapt),
  lambda_lr: own(Plain.shape.lambda_lr),
  lambda_min: own(Plain.shape.lambda_min),
  lambda_max: own(Plain.shape.lambda_max),
  jc_ema_beta: own(Plain.shape.jc_ema_beta),
  cost_bound: own(Plain.shape.cost_bound),
  cost_confidence: own(Plain.shape.cost_confidence),
  lambda_kp: own(Plain.shape.lambda_kp),
  lambda_ki: own(Plain.shape.lambda_ki),
  lambda_kd: own(Plain.shape.lambda_kd),
  lambda_d_delay: own(Plain.shape.lambda_d_delay),
  lambda_pos_cost_only: own(Plain.shape.lambda_pos_cost_only),
};

export const OWN_LAMBDA_KEYS = Object.keys(OWN_LAMBDA) as (keyof typeof OWN_LAMBDA)[];

/** A name in metrics, as "costs/NAME/mean" and "lambda/NAME/value". */
const entryName = z.string().regex(/^[A-Za-z_][\w-]*$/);

const CostEntry = z.strictObject({
  name: entryName,
  field: z.string().min(1).optional(),
  model: z.string().min(1).optional(),
  label: own(Plain.shape.cost_label),
  ...OWN_LAMBDA,
});

const RewardEntry = z.strictObject({
  name: entryName,
  field: z.string().min(1).optional(),
  weight: z.number().default(1),
});

export const ConfigSchema = Plain.extend({
  rewards: entriesOrNull(RewardEntry, "name, weight, field", [
    SCORER,
    "Rewards by name, where the scorer gives several: the reward is their sum by weight, 1 unless given; weight 0 " +
    "only watches. field: the scorer's own name for it, where that is another. null: there is one.",
  ]),
  costs: entriesOrNull(CostEntry, `name, field, model, label, ${OWN_LAMBDA_KEYS.join(", ")}`, [
    LAMBDA,
    "Costs by name, where the scorer gives several, each held to its own limit by its own lambda: what an entry " +
    "leaves out it takes from the setting of that name. field: the scorer's own name for it, where that is another; " +
    "model and label: its score model, where these are served in this process, else cost_model and cost_label. A " +
    "completion is safe where all of them are <= 0; `cost` is then the largest of them. null: there is one.",
  ]),
  advantage_composition: oneOf(ADVANTAGE_COMPOSITIONS, "reward", [
    LAMBDA,
    "How rewards, costs and lambdas make advantages. reward: reward - lambda * cost, then standardized as " +
    "scale_rewards says; advantage: the standardized reward - lambda * the standardized cost; ppo_lag: the same, " +
    "divided by 1 + lambda; gdpo: each reward and each cost standardized in its group, their sum by weight and " +
    "lambda then over the batch (TRL's normalize_then_sum).",
  ]),
});

/** A complete, validated configuration; `loadConfig` freezes it. */
export type Config = Readonly<z.infer<typeof ConfigSchema>>;

export type ConfigKey = keyof Config;

export const CONFIG_KEYS = Object.keys(ConfigSchema.shape) as ConfigKey[];

export function isConfigKey(key: string): key is ConfigKey {
  return Object.hasOwn(ConfigSchema.shape, key);
}

/** Help text, group, accepted values and resume behaviour of a key. */
export function fieldMeta(key: ConfigKey): FieldMeta {
  // zod types metadata as an open record; fields.ts writes nothing but FieldMeta into it.
  return ConfigSchema.shape[key].meta() as unknown as FieldMeta;
}

/** The configuration with every key at its default. */
export function defaultConfig(): Config {
  return deepFreeze(ConfigSchema.parse({}));
}
