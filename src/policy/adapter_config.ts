/** adapter_config.json of a LoRA adapter as `peft` writes it: read and checked, and written. */
import { parsedObject, shortJson } from "../config/parsed_json.ts";

export interface AdapterConfig {
  rank: number;
  alpha: number;
  /** Scale by alpha / sqrt(rank) (arXiv:2312.03732) instead of alpha / rank. */
  useRslora: boolean;
}

/** A config with what `peft` needs beside it to open the folder. */
interface SavedAdapterConfig extends AdapterConfig {
  /** base_model_name_or_path; null where the file names none. */
  baseModel: string | null;
  /** Branch, tag or commit of a base model on a hub. */
  revision: string | null;
}

type Json = Record<string, unknown>;

/** What an adapter's output is multiplied by. */
export function adapterScale({ rank, alpha, useRslora }: AdapterConfig): number {
  return alpha / (useRslora ? Math.sqrt(rank) : rank);
}

/**
 * Module names of lora_target_modules.
 * @param present those that the model has
 * @throws RangeError when the model lacks one that is named
 */
export function targetModules(
  targets: readonly string[] | "all-linear",
  present: readonly string[],
): readonly string[] {
  if (targets === "all-linear") return present;
  const missing = targets.filter((target) => !present.includes(target));
  if (missing.length === 0) return targets;
  throw new RangeError(
    `Cannot adapt ${missing.join(", ")}: the model's linear layers are ${present.join(", ")}; set ` +
      "lora_target_modules to some of these or to all-linear",
  );
}

/** Start values that leave the base model's weights as they are. Others (pissa, olora, loftq...) change them. */
const PLAIN_STARTS: readonly unknown[] = [undefined, null, true, false, "gaussian", "orthogonal", "eva"];

/** Keys that change what an adapter computes, or which tensors its file holds, beyond plain LoRA. */
const REFUSED = [
  "modules_to_save",
  "rank_pattern",
  "alpha_pattern",
  "fan_in_fan_out",
  "lora_bias",
  "layer_replication",
  "trainable_token_indices",
  "target_parameters",
  "alora_invocation_tokens",
  "arrow_config",
  "kasa_config",
  "monteclora_config",
  "velora_config",
];

function isUnset(value: unknown): boolean {
  return value === undefined || value === null || value === false ||
    (typeof value === "object" && Object.keys(value).length === 0);
}

/** The first key whose value asks for something else than plain LoRA. */
function refusedKey(json: Json): string | undefined {
  if (!isUnset(json.bias) && json.bias !== "none") return "bias";
  if (!PLAIN_STARTS.includes(json.init_lora_weights)) return "init_lora_weights";
  // use_dora, use_qalora, use_bdlora, and those of versions to come.
  const variants = Object.keys(json).filter((key) => key.startsWith("use_") && key !== "use_rslora");
  return [...REFUSED, ...variants].find((key) => !isUnset(json[key]));
}

/**
 * Which modules the file says it adapts is not read: the weights beside it hold a pair for each.
 * @throws TypeError when it is no JSON object, no LoRA of a causal language model, or a variant that is not computed
 */
export function parseAdapterConfig(text: string, path: string): SavedAdapterConfig {
  const json = parsedObject(text, path, "save the adapter again with peft");
  const fail = (key: string, required: string) => {
    throw new TypeError(`${path}: ${key} must be ${required}, got ${shortJson(json[key])}`);
  };
  if (json.peft_type !== "LORA") fail("peft_type", '"LORA"');
  if (!isUnset(json.task_type) && json.task_type !== "CAUSAL_LM") fail("task_type", '"CAUSAL_LM"');
  if (!Number.isSafeInteger(json.r) || (json.r as number) < 1) fail("r", "an integer >= 1");
  if (typeof json.lora_alpha !== "number" || !(json.lora_alpha > 0)) fail("lora_alpha", "a number > 0");
  const refused = refusedKey(json);
  if (refused !== undefined) {
    throw new TypeError(
      `${path}: ${refused} ${
        shortJson(json[refused])
      } is not supported, only plain LoRA is; merge the adapter ` +
        "with peft (merge_and_unload) and take the merged model",
    );
  }
  const textOf = (value: unknown) => typeof value === "string" && value !== "" ? value : null;
  return {
    rank: json.r as number,
    alpha: json.lora_alpha as number,
    useRslora: json.use_rslora === true,
    baseModel: textOf(json.base_model_name_or_path),
    revision: textOf(json.revision),
  };
}

/** The text of adapter_config.json, with every key that `peft` has no safe default for. */
export function formatAdapterConfig(config: SavedAdapterConfig, modules: readonly string[]): string {
  const json = {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: config.baseModel,
    revision: config.revision,
    inference_mode: true,
    r: config.rank,
    lora_alpha: config.alpha,
    lora_dropout: 0,
    use_rslora: config.useRslora,
    target_modules: [...modules].sort(),
    bias: "none",
    modules_to_save: null,
    fan_in_fan_out: false,
    init_lora_weights: true,
    use_dora: false,
    rank_pattern: {},
    alpha_pattern: {},
  };
  return `${JSON.stringify(json, null, 2)}\n`;
}
