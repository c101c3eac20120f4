/**
 * Keys of TRL 1.16's GRPOConfig, ModelConfig and ScriptArguments that this configuration has not, by topic: what to
 * set instead, or why there is nothing to set. Keys of the same name are in schema.ts alone. Error messages and
 * docs/from-trl.md are made of it.
 */

/** What stands behind "KEY is a setting of TRL: ". */
type Answers = Readonly<Record<string, string>>;

const all = (keys: string, answer: string): Answers =>
  Object.fromEntries(keys.trim().split(/\s+/).map((key) => [key, answer]));

const NO_PYTORCH = "this program runs on WebGPU, without PyTorch, where there is nothing to set";
const NO_VLLM =
  "completions are sampled in this process, without vLLM; readback_every and kv_cache_dtype tune that";
const NO_LOADER = "all prompts are read before the first step, and none is padded: there is no data loader";
const NO_HUB_UPLOAD = "nothing is uploaded; send the run's folder with `hf upload`";
const ONE_PROCESS = "one process trains on one GPU: there is nothing to share out";
const LOCAL_TRACKING =
  "every run writes metrics.jsonl, samples/ and report.html by itself; report_to adds TensorBoard and W&B";

export const TRL_KEYS: Answers = {
  // Model and adapter
  model_name_or_path: "set model_name",
  model_revision: "write it behind the hub id: model_name=org/name@revision",
  model_init_kwargs: "set dtype; a model has no other choice here",
  trust_remote_code: "code of a model is never run; families are listed where a model is refused",
  attn_implementation: "there is one attention, exact for every split of a batch",
  ...all(
    "lora_target_parameters lora_modules_to_save lora_task_type use_dora",
    "adapters are LoRA on linear layers of a causal language model; set lora_target_modules",
  ),
  ...all(
    "load_in_8bit load_in_4bit bnb_4bit_quant_type use_bnb_nested_quant bnb_4bit_quant_storage",
    "frozen weights stay as they are stored, at least 16 bits each; dtype and kv_cache_dtype save memory",
  ),
  disable_dropout: "there is no dropout: the policy that is trained is the one that sampled",
  cast_lm_head_to_fp32: "the head's sums are f32 always",
  router_aux_loss_coef: "models with experts are not offered",

  // Prompts
  dataset_name: "set train_jsonl and eval_jsonl to files of prompts",
  dataset_config: "set train_jsonl to a file of prompts",
  dataset_train_split: "set train_jsonl to a file of its prompts",
  dataset_test_split: "set eval_jsonl to a file of its prompts",
  dataset_streaming: NO_LOADER,
  remove_unused_columns: "columns beside the prompt are kept, and go to the scorer",
  label_names: "the scorer is told the prompt's other columns by their names",
  shuffle_dataset: "prompts are shuffled by seed, always",
  train_sampling_strategy: "prompts are shuffled by seed, always",
  data_seed: "set seed: it orders the prompts too",
  length_column_name: NO_LOADER,
  pad_to_multiple_of: "sequences are packed, not padded",
  ignore_data_skip: "a resumed run goes on with the prompt that comes next, always",
  ...all(
    "dataloader_drop_last dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers " +
      "dataloader_prefetch_factor dataloader_multiprocessing_context dataloader_in_order",
    NO_LOADER,
  ),

  // Rewards
  reward_weights: "write each weight behind its function: reward_functions=FILE#EXPORT:WEIGHT",
  multi_objective_aggregation:
    "set advantage_composition: reward for sum_then_normalize, gdpo for normalize_then_sum; rewards names its rewards",
  max_tool_calling_iterations: "completions call no tools",

  // Sampling
  generation_batch_size: "set steps_per_generation, or gradient_accumulation_steps",
  num_generations_eval: "evaluation makes one greedy completion of each prompt",
  generation_kwargs: "set temperature, top_p, top_k, min_p and repetition_penalty",
  cache_implementation: "keys and values lie in blocks that follow the completions; see kv_cache_dtype",
  use_cache: "keys and values are always kept while sampling; see kv_cache_dtype",
  ...all(
    "use_transformers_continuous_batching transformers_continuous_batching_config use_transformers_paged",
    "rows take and give back memory as they go, always; eval_batch_size bounds evaluation's",
  ),
  ds3_gather_for_generation: ONE_PROCESS,
  ...all(
    "use_vllm vllm_mode vllm_model_impl vllm_enable_sleep_mode vllm_structured_outputs_regex vllm_server_base_url " +
      "vllm_server_host vllm_server_port vllm_server_timeout vllm_group_port vllm_gpu_memory_utilization " +
      "vllm_max_model_length vllm_tensor_parallel_size",
    NO_VLLM,
  ),
  vllm_importance_sampling_correction: "set importance_sampling_correction",
  vllm_importance_sampling_mode: "set importance_sampling_mode",
  vllm_importance_sampling_clip_max: "set importance_sampling_clip_max",
  vllm_importance_sampling_clip_min: "set importance_sampling_clip_min",
  vllm_importance_sampling_cap: "set importance_sampling_clip_max",

  // Loss
  label_smoothing_factor: "it belongs to losses with labels",
  neftune_noise_alpha: "noise on embeddings is not offered: sampled and trained policy would differ",

  // Optimizer, precision, memory
  ...all(
    "optim optim_args optim_target_modules",
    "the optimizer is AdamW; set adam_beta1, adam_beta2, adam_epsilon",
  ),
  ...all("bf16 bf16_full_eval", "set dtype=bfloat16; matmul_precision takes a GPU's matrix units by itself"),
  ...all("fp16 fp16_full_eval tf32", "matmul_precision takes a GPU's matrix units by itself; sums are f32"),
  ...all(
    "activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing_kwargs",
    "set gradient_checkpointing",
  ),
  auto_find_batch_size:
    "how many completions are trained on at a time follows from the GPU's memory, by itself",
  average_tokens_across_devices: "tokens are averaged over all devices, always",
  ...all(
    "torch_compile torch_compile_backend torch_compile_mode use_liger_kernel liger_kernel_config " +
      "torch_empty_cache_steps use_cpu full_determinism",
    NO_PYTORCH,
  ),
  ...all(
    "ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend ddp_timeout " +
      "fsdp fsdp_config accelerator_config parallelism_config local_rank ignore_bias_buffers",
    ONE_PROCESS,
  ),
  deepspeed: "set deepspeed_config",

  // Evaluation, output, logging
  do_train: "the command says it: `train`",
  do_eval: "the command says it: `eval`; while training eval_every decides",
  do_predict: "the command says it: `eval`",
  eval_strategy: "set eval_every, in optimizer steps; 0 for one at the end only",
  eval_steps: "set eval_every",
  eval_delay: "set eval_every: it counts from the first step",
  ...all(
    "prediction_loss_only eval_do_concat_batches eval_use_gather_object eval_accumulation_steps include_for_metrics " +
      "batch_eval_metrics",
    "evaluation completes the prompts of eval_jsonl greedily and logs the scores' means; see eval_batch_size",
  ),
  save_strategy: "set save_steps, in optimizer steps; 0 for one at the end only",
  save_only_model: "a checkpoint holds all that a resumed run needs; the final weights stand alone",
  save_on_each_node: ONE_PROCESS,
  enable_jit_checkpoint: "SIGTERM and SIGINT save after the step in progress, always",
  restore_callback_states_from_checkpoint: "there are no callbacks",
  resume_from_checkpoint:
    "a run goes on from its newest checkpoint by itself; set resume=false to start over",
  logging_strategy: "set logging_steps",
  logging_first_step: "the first step is logged, always",
  ...all(
    "log_on_each_node logging_nan_inf_filter include_num_input_tokens_seen log_level log_level_replica " +
      "skip_memory_metrics debug log_multimodal log_unique_prompts",
    LOCAL_TRACKING,
  ),
  disable_tqdm: "redirect the output: without a terminal lines are printed, and no bar",
  num_completions_to_print: "set debug_print_samples_per_batch",
  log_completions_hub_repo: NO_HUB_UPLOAD,
  ...all("trackio_space_id trackio_bucket_id trackio_static_space_id", LOCAL_TRACKING),
  ...all(
    "push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision",
    NO_HUB_UPLOAD,
  ),
};

/** Names that other versions and other programs use. */
export const OTHER_NAMES: Answers = {
  ...all("model model_path base_model policy_model policy actor_model", "set model_name"),
  ...all("dataset train_file train_data data_path prompts prompts_file", "set train_jsonl"),
  ...all("eval_file eval_data validation_file test_file", "set eval_jsonl"),
  ...all(
    "per_device_batch per_device_batch_size batch_size micro_batch_size",
    "set per_device_train_batch_size",
  ),
  ...all("max_new_tokens max_tokens max_response_length", "set max_completion_length"),
  ...all("scorer_max_retries scorer_retries", "set scorer_retry_max_s, in seconds"),
  importance_sampling_cap: "set importance_sampling_clip_max",
  ...all("kl_coef kl_coeff kl_beta init_kl_coef kl_penalty", "set beta"),
  ...all("lr actor_learning_rate", "set learning_rate"),
  ...all("epochs num_epochs", "set num_train_epochs"),
  ...all("steps total_steps train_steps", "set max_steps"),
  ...all("group_size num_samples n_generations rollouts_per_prompt", "set num_generations"),
  ...all("clip_range cliprange clip_eps", "set epsilon"),
  ...all("lora_rank r", "set lora_r, with use_peft=true"),
  ...all("target_modules", "set lora_target_modules, with use_peft=true"),
  ...all("lora peft qlora", "set use_peft=true"),
  ...all("lambda lambda_init", "set lambda_cost"),
  ...all("threshold cost_limit cost_threshold", "set cost_threshold_d"),
  ...all("warmup_ratio", "set warmup_steps to that share, below 1"),
  ...all("stop stop_sequences", "set stop_strings"),
  ...all("grad_accum grad_accumulation_steps", "set gradient_accumulation_steps"),
  ...all("grad_clip clip_grad max_grad", "set max_grad_norm"),
  ...all("evaluation_strategy", "set eval_every"),
  ...all("wandb use_wandb log_with", "set report_to"),
  wandb_project: "set project",
  wandb_entity: "set entity",
  logging_dir: LOCAL_TRACKING,
  ...all("torch_dtype precision mixed_precision", "set dtype"),
  ...all(
    "reward_fn reward_funcs reward_function",
    "set reward_functions to FILE#EXPORT of a TypeScript file, or scorer_url to a service that scores, or reward_model",
  ),
};
