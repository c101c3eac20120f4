/** The keys of a DeepSpeed configuration, by their paths, and what becomes of each here. */
import { shortJson } from "./parsed_json.ts";
import type { Config, ConfigKey } from "./schema.ts";

export interface DeepspeedKey {
  /** Why a value cannot be taken, and what to do instead; null where it can. */
  refuses?: (value: unknown) => string | null;
  /** The setting that it is. */
  sets?: (value: unknown) => { key: ConfigKey; value: unknown } | null;
  /** The setting that it must agree with, and its value. */
  compare?: (config: Config, worldSize: number) => { name: string; value: unknown };
  /** Why it does nothing. */
  reason?: string;
}

type Keys = Readonly<Record<string, DeepspeedKey>>;

const without = (paths: string, reason: string): Keys =>
  Object.fromEntries(paths.trim().split(/\s+/).map((path) => [path, { reason }]));

const refused = (paths: string, remedy: string): Keys =>
  Object.fromEntries(
    paths.trim().split(/\s+/).map((path): [string, DeepspeedKey] => [path, {
      refuses: (value) => isOff(value) ? null : `${path} is not offered; ${remedy}`,
    }]),
  );

/** What switches nothing on: null, false, "auto", a device "none", `enabled: false`. */
function isOff(value: unknown): boolean {
  if (value === null || value === false || value === "auto" || value === "none") return true;
  if (typeof value !== "object" || Array.isArray(value)) return false;
  const { enabled, device } = value as { enabled?: unknown; device?: unknown };
  return enabled === false || device === "none" || Object.keys(value!).length === 0;
}

const is = (key: ConfigKey): DeepspeedKey => ({ sets: (value) => ({ key, value }) });

const equals = (key: ConfigKey, alike: (value: unknown) => unknown = (value) => value): DeepspeedKey => ({
  compare: (config) => ({ name: key, value: alike(config[key]) }),
});

const OFFLOAD =
  "weights and optimizer stay on the GPU: set use_peft, start more ranks, or leave the frozen weights " +
  "packed as their file holds them";
const OWN_MEMORY = "memory of gradients and messages is laid out by this program";
const STAGE_3 = "it belongs to stage 3";
const OWN_LOGS = "metrics.jsonl, the report and `bench` say it";

/** DeepSpeed's numbers for our names of types. */
const TYPES: Readonly<Record<string, string>> = { fp32: "float32", bf16: "bfloat16" };

function stageProblem(stage: unknown): string | null {
  if (stage === 0 || stage === 1 || stage === 2 || stage === "auto") return null;
  const asked = `zero_optimization.stage must be 0, 1 or 2, got ${shortJson(stage)}`;
  return stage === 3
    ? `${asked}: weights are not split over ranks; instead set use_peft (LoRA), start more ranks under stage 2, or ` +
      "leave frozen weights packed as their file holds them"
    : `${asked}; set 2, which splits gradients and optimizer over ranks`;
}

const ZERO: Keys = {
  "zero_optimization.stage": {
    refuses: stageProblem,
    // Stage 1 splits the optimizer alone; splitting the gradients too gives the same weights.
    sets: (stage) => ({ key: "zero_stage", value: stage === 0 ? 0 : 2 }),
  },
  "zero_optimization.reduce_bucket_size": is("reduce_bucket_size"),
  "zero_optimization.allgather_bucket_size": is("allgather_bucket_size"),
  "zero_optimization.overlap_comm": is("overlap_comm"),
  ...without(
    "zero_optimization.contiguous_gradients zero_optimization.reduce_scatter " +
      "zero_optimization.allgather_partitions zero_optimization.round_robin_gradients " +
      "zero_optimization.ignore_unused_parameters zero_optimization.load_from_fp32_weights " +
      "zero_optimization.elastic_checkpoint zero_optimization.legacy_stage1",
    OWN_MEMORY,
  ),
  ...without(
    "zero_optimization.sub_group_size zero_optimization.stage3_max_live_parameters " +
      "zero_optimization.stage3_max_reuse_distance zero_optimization.stage3_prefetch_bucket_size " +
      "zero_optimization.stage3_param_persistence_threshold zero_optimization.memory_efficient_linear " +
      "zero_optimization.stage3_gather_16bit_weights_on_model_save " +
      "zero_optimization.stage3_gather_fp16_weights_on_model_save",
    STAGE_3,
  ),
  ...refused(
    "zero_optimization.offload_optimizer zero_optimization.offload_param zero_optimization.cpu_offload",
    OFFLOAD,
  ),
  ...refused(
    "zero_optimization.zero_quantized_weights zero_optimization.zero_quantized_gradients " +
      "zero_optimization.zero_hpz_partition_size zero_optimization.mics_shard_size",
    "remove it: what ranks exchange has communication_dtype",
  ),
};

const BATCH: Keys = {
  gradient_clipping: equals("max_grad_norm"),
  gradient_accumulation_steps: equals("gradient_accumulation_steps"),
  train_micro_batch_size_per_gpu: equals("per_device_train_batch_size"),
  train_batch_size: {
    compare: ({ per_device_train_batch_size: size, gradient_accumulation_steps: steps }, worldSize) => ({
      name: `per_device_train_batch_size ${size} * gradient_accumulation_steps ${steps} * ${worldSize} ranks`,
      value: size * steps * worldSize,
    }),
  },
};

const LOSS_SCALES = [
  "loss_scale",
  "loss_scale_window",
  "initial_scale_power",
  "hysteresis",
  "min_loss_scale",
];

const PRECISION: Keys = {
  // Weights in bf16 with an f32 copy for the optimizer.
  "bf16.enabled": {
    sets: (isOn) => ({ key: "dtype", value: isOn === true ? "bfloat16" : "float32" }),
  },
  "fp16.enabled": {
    refuses: (isOn) =>
      isOn === true
        ? "fp16.enabled is not offered, as f16 weights need their loss scaled; enable bf16 instead: " +
          "matmul_precision takes a GPU's f16 matrix units by itself"
        : null,
  },
  ...without(
    [...LOSS_SCALES, "auto_cast", "consecutive_hysteresis", "fp16_master_weights_and_grads"]
      .map((name) => `fp16.${name}`).join(" "),
    "there is no scale of the loss",
  ),
  ...without(
    "bf16.immediate_grad_update bf16.check_grad_overflow",
    "gradients are f32, and a step of those that are not finite is skipped",
  ),
  communication_data_type: {
    refuses: (type) =>
      type === null || type === "auto" || typeof type === "string" && Object.hasOwn(TYPES, type)
        ? null
        : `communication_data_type must be "fp32", "bf16" or null, got ${
          shortJson(type)
        }; set "bf16", which has ` +
          "the range of f32",
    sets: (type) => type === null ? null : { key: "communication_dtype", value: TYPES[String(type)] },
  },
  "data_types.grad_accum_dtype": {
    refuses: (type) =>
      type === null || type === "auto" || type === "fp32"
        ? null
        : `data_types.grad_accum_dtype must be "fp32" or null, got ${
          shortJson(type)
        }: gradients are summed in ` +
          'f32; set "fp32"',
  },
  ...refused("amp", "remove it, and enable bf16"),
};

function optimizerProblem(type: unknown): string | null {
  return type === "AdamW" || type === "Adam" || type === "auto"
    ? null
    : `optimizer.type must be "AdamW", got ${shortJson(type)}: there is no other; remove the section`;
}

const OPTIMIZER: Keys = {
  "optimizer.type": { refuses: optimizerProblem },
  "optimizer.params.lr": equals("learning_rate"),
  "optimizer.params.eps": equals("adam_epsilon"),
  "optimizer.params.weight_decay": equals("weight_decay"),
  "optimizer.params.betas": {
    compare: ({ adam_beta1, adam_beta2 }) => ({
      name: "[adam_beta1, adam_beta2]",
      value: [adam_beta1, adam_beta2],
    }),
  },
  ...without("optimizer.params.torch_adam optimizer.params.adam_w_mode", "the optimizer is AdamW"),
  ...refused("scheduler", "remove the section, and set lr_scheduler_type and warmup_steps"),
};

const MACHINERY: Keys = {
  ...without(
    "steps_per_print wall_clock_breakdown dump_state memory_breakdown tensorboard wandb comet csv_monitor " +
      "comms_logger flops_profiler",
    OWN_LOGS,
  ),
  ...without(
    "prescale_gradients gradient_predivide_factor sparse_gradients disable_allgather checkpoint aio " +
      "activation_checkpointing zero_allow_untested_optimizer zero_force_ds_cpu_optimizer seed_layers graph_harvesting",
    OWN_MEMORY,
  ),
  ...refused(
    "compression_training elasticity autotuning sparse_attention pipeline data_efficiency curriculum_learning " +
      "progressive_layer_drop eigenvalue quantize_training hybrid_engine tensor_parallel sequence_parallel_size",
    "remove it",
  ),
};

const KEYS: Keys = { ...ZERO, ...BATCH, ...PRECISION, ...OPTIMIZER, ...MACHINERY };

export const DEEPSPEED_KEYS: readonly string[] = Object.keys(KEYS);

/** What becomes of the key at a path; undefined where DeepSpeed has none, or none known here. */
export function deepspeedKey(path: string): DeepspeedKey | undefined {
  return Object.hasOwn(KEYS, path) ? KEYS[path] : undefined;
}
