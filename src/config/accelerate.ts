/**
 * The file that `accelerate config` writes: how many processes on which GPUs, and what DeepSpeed is to do. What it says
 * of machinery that is not here is named with the reason; what would be another run is refused.
 */
import { ConfigError } from "./load.ts";
import { shortJson } from "./parsed_json.ts";
import { nearestName } from "./unknown_key.ts";
import { type ConfigSource, readYaml } from "./yaml_file.ts";

export interface AccelerateSettings {
  /** null where the file does not say. */
  numProcesses: number | null;
  numMachines: number;
  /** Of this machine's GPUs; null for all. */
  gpuIds: readonly number[] | null;
  useCpu: boolean;
  /** What DeepSpeed is to do: a file of its own, or such a file's text. */
  deepspeed: { path: string } | ConfigSource | null;
  notices: string[];
}

interface Entry {
  key: string;
  value: unknown;
  where: string;
}

/** Why a value cannot be taken, and what to do instead; null where it can. */
type Judge = (value: unknown) => string | null;

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 1;
const quoted = (value: unknown) => value === undefined ? "nothing" : shortJson(value);

const count: Judge = (value) => isCount(value) ? null : `must be a whole number from 1, got ${quoted(value)}`;
const yesOrNo: Judge = (value) =>
  typeof value === "boolean" ? null : `must be true or false, got ${quoted(value)}`;
const oneOf = (values: readonly unknown[], remedy: string): Judge => (value) =>
  values.includes(value)
    ? null
    : `must be ${values.map(quoted).join(" or ")}, got ${quoted(value)}; ${remedy}`;
const nothing = (remedy: string): Judge => (value) =>
  value === null || value === false || value === "NO" || value === "no" || isEmpty(value)
    ? null
    : `is not offered, got ${quoted(value)}; ${remedy}`;
const isEmpty = (value: unknown) => typeof value === "object" && Object.keys(value ?? {}).length === 0;

const SPLIT =
  "set distributed_type to DEEPSPEED with zero_stage 2, which splits gradients and optimizer over ranks";
const MACHINES = "on several machines a cluster's launcher starts the ranks: slurm/run.sh with more nodes";

const READ: Readonly<Record<string, Judge>> = {
  compute_environment: oneOf(["LOCAL_MACHINE"], MACHINES),
  distributed_type: oneOf(["NO", "MULTI_GPU", "MULTI_CPU", "DEEPSPEED"], SPLIT),
  num_processes: count,
  num_machines: count,
  machine_rank: oneOf([0], MACHINES),
  use_cpu: yesOrNo,
  gpu_ids: (value) =>
    gpuIdsOf(value) === undefined ? `must be "all" or numbers such as "0,2", got ${quoted(value)}` : null,
  mixed_precision: oneOf(
    ["no", "bf16", "fp16"],
    'set "no", dtype and matmul_precision of the settings say it',
  ),
  deepspeed_config: (value) =>
    typeof value === "object" && !Array.isArray(value) ? null : `must be a mapping, got ${quoted(value)}`,
  fsdp_config: nothing(SPLIT),
  megatron_lm_config: nothing(SPLIT),
  parallelism_config: nothing(SPLIT),
  fp8_config: nothing("remove it: products are f32 or f16, by matmul_precision"),
  tpu_name: nothing("remove it: a run needs a GPU"),
};

const WIRING = "MPI joins the processes";
/** Keys that do nothing here, and why. */
const WITHOUT: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    [
      "main_process_ip",
      "main_process_port",
      "rdzv_backend",
      "same_network",
      "mpirun_config",
      "deepspeed_hostfile",
    ]
      .map((key) => [key, WIRING]),
  ),
  ...Object.fromEntries(
    [
      "tpu_env",
      "tpu_use_cluster",
      "tpu_use_sudo",
      "tpu_zone",
      "tpu_vm",
      "downcast_bf16",
      "commands",
      "command_file",
    ]
      .map((key) => [key, "there is no TPU"]),
  ),
  ...Object.fromEntries(
    [
      "dynamo_config",
      "dynamo_backend",
      "ipex_config",
      "enable_cpu_affinity",
      "main_training_function",
      "debug",
    ]
      .map((key) => [key, "there is no PyTorch"]),
  ),
};

/** accelerate's words inside deepspeed_config: the path in DeepSpeed's own file that each stands for. */
const DEEPSPEED_WORDS: Readonly<Record<string, readonly string[]>> = {
  zero_stage: ["zero_optimization", "stage"],
  offload_optimizer_device: ["zero_optimization", "offload_optimizer"],
  offload_param_device: ["zero_optimization", "offload_param"],
  gradient_accumulation_steps: ["gradient_accumulation_steps"],
  gradient_clipping: ["gradient_clipping"],
};
/** Of stage 3, of experts and of launching. */
const DEEPSPEED_WITHOUT = [
  "zero3_init_flag",
  "zero3_save_16bit_model",
  "deepspeed_moe_layer_cls_names",
  "deepspeed_multinode_launcher",
  "deepspeed_hostfile",
  "deepspeed_exclusion_filter",
  "deepspeed_inclusion_filter",
  "offload_optimizer_nvme_path",
  "offload_param_nvme_path",
];

/** GPUs by number: null for all, undefined where the value is neither. */
export function gpuIdsOf(value: unknown): readonly number[] | null | undefined {
  if (value === null || value === undefined || value === "all") return null;
  const parts = (Array.isArray(value) ? value : String(value).split(",")).map((part) => String(part).trim());
  const ids = parts.map(Number);
  const areNumbers = parts.every((part) => /^\d+$/.test(part)) && new Set(ids).size === ids.length;
  return areNumbers ? ids : undefined;
}

/**
 * Reads the file's text.
 * @throws ConfigError when keys are unknown, or values are refused; it names every problem with its place
 */
export function readAccelerate(source: ConfigSource): AccelerateSettings {
  const problems: string[] = [];
  const entries = [...readYaml(source, problems)].map(([key, { value, where }]): Entry => ({
    key,
    value,
    where,
  }));
  for (const entry of entries) {
    const problem = problemOf(entry);
    if (problem !== null) problems.push(`${entry.where}: ${problem}`);
  }
  const valueOf = (key: string) => entries.find((entry) => entry.key === key)?.value;
  const type = valueOf("distributed_type");
  const numProcesses = isCount(valueOf("num_processes")) ? valueOf("num_processes") as number : null;
  if (type === "NO" && numProcesses !== null && numProcesses > 1) {
    problems.push(
      `${source.fileName}: distributed_type NO is one process, and num_processes is ${numProcesses}; set MULTI_GPU`,
    );
  }
  const deepspeed = deepspeedOf(valueOf("deepspeed_config"), source.fileName, problems);
  if (problems.length > 0) throw new ConfigError(problems);
  return {
    numProcesses: type === "NO" ? 1 : numProcesses,
    numMachines: isCount(valueOf("num_machines")) ? valueOf("num_machines") as number : 1,
    gpuIds: gpuIdsOf(valueOf("gpu_ids")) ?? null,
    useCpu: valueOf("use_cpu") === true || type === "MULTI_CPU",
    deepspeed,
    notices: noticesOf(entries, source.fileName),
  };
}

function problemOf({ key, value }: Entry): string | null {
  if (Object.hasOwn(WITHOUT, key)) return null;
  const problem = Object.hasOwn(READ, key) ? READ[key](value) : undefined;
  if (problem !== undefined) return problem && `${key} ${problem}`;
  const nearest = nearestName(key, [...Object.keys(READ), ...Object.keys(WITHOUT)]);
  return `unknown key ${quoted(key)}; ${
    nearest ? `did you mean "${nearest}"?` : "remove it, or give it to the run by --set"
  }`;
}

function deepspeedOf(value: unknown, fileName: string, problems: string[]): AccelerateSettings["deepspeed"] {
  if (typeof value !== "object" || value === null || isEmpty(value)) return null;
  const { deepspeed_config_file: path, ...words } = value as Record<string, unknown>;
  const place = `${fileName}, deepspeed_config`;
  const asked = Object.entries(words).filter(([key]) => !DEEPSPEED_WITHOUT.includes(key));
  const known = [...Object.keys(DEEPSPEED_WORDS), ...DEEPSPEED_WITHOUT, "deepspeed_config_file"];
  for (const [key] of asked.filter(([key]) => !Object.hasOwn(DEEPSPEED_WORDS, key))) {
    const nearest = nearestName(key, known);
    problems.push(
      `${place}: unknown key ${quoted(key)}; ${nearest ? `did you mean "${nearest}"?` : "remove it"}`,
    );
  }
  if (typeof path === "string") {
    if (asked.length === 0) return { path };
    const names = asked.map(([key]) => key).join(", ");
    problems.push(
      `${place}: ${names} belong into '${path}', which deepspeed_config_file names; move them there`,
    );
    return null;
  }
  const values: Record<string, unknown> = {};
  for (const [key, word] of asked.filter(([key]) => Object.hasOwn(DEEPSPEED_WORDS, key))) {
    const [section, inner] = DEEPSPEED_WORDS[key];
    values[section] = inner ? { ...values[section] as object, [inner]: word } : word;
  }
  return { text: JSON.stringify(values), fileName: place };
}

function noticesOf(entries: readonly Entry[], fileName: string): string[] {
  const without = new Map<string, string[]>();
  for (const { key, value } of entries) {
    // What is off in accelerate's template need not be explained.
    if (!Object.hasOwn(WITHOUT, key) || nothing("")(value) === null) continue;
    without.set(WITHOUT[key], [...without.get(WITHOUT[key]) ?? [], key]);
  }
  const precision = entries.find(({ key, value }) => key === "mixed_precision" && value !== "no");
  return [
    ...[...without].map(([reason, keys]) => `${fileName}: ${keys.join(", ")} without meaning: ${reason}`),
    ...precision
      ? [
        `${fileName}: mixed_precision ${
          quoted(precision.value)
        } without meaning: trained weights and sums are f32, and ` +
        "matmul_precision rounds products; dtype bfloat16 holds trained weights in bf16",
      ]
      : [],
  ];
}
