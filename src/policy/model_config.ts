/** config.json of a model, read by the rules of its family. */
import type { RopeScaling } from "../ops/attention/rope.ts";
import { positive, positiveInteger, refuse } from "./families/config_values.ts";
import { FAMILIES } from "./families/families.ts";
import type { Family, Json, ModelConfig } from "./families/family.ts";

const isObject = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);

/** transformers 5 moved rope_theta and rope_scaling into rope_parameters. */
function ropeOf(json: Json, path: string): { theta: number; scaling: RopeScaling | undefined } {
  const parameters = (json.rope_scaling ?? json.rope_parameters ?? {}) as Json;
  const nested = Object.keys(parameters).find((key) => isObject(parameters[key]));
  if (nested) refuse(path, `a rope of its own for "${nested}"`, "the same rope_parameters for all layers");
  const rotated = parameters.partial_rotary_factor ?? json.partial_rotary_factor ?? 1;
  if (rotated !== 1) refuse(path, `partial_rotary_factor ${rotated}`, "1 (all of a head rotated)");
  const given = parameters.rope_theta ?? (json.rope_parameters as Json | null)?.rope_theta ?? json.rope_theta;
  return {
    theta: positive({ rope_theta: given }, "rope_theta", path, 10000),
    scaling: ropeScalingOf(parameters, json, path),
  };
}

function ropeScalingOf(parameters: Json, json: Json, path: string): RopeScaling | undefined {
  const type = parameters.rope_type ?? parameters.type ?? "default";
  if (type === "default") return undefined;
  if (type === "linear") return { type, factor: positive(parameters, "factor", path) };
  if (type !== "llama3") {
    refuse(path, `rope type ${JSON.stringify(type)}`, "default, linear or llama3");
  }
  const key = "original_max_position_embeddings";
  const original = json[key] ?? parameters[key] ?? json.max_position_embeddings;
  return {
    type: "llama3",
    factor: positive(parameters, "factor", path),
    lowFreqFactor: positive(parameters, "low_freq_factor", path),
    highFreqFactor: positive(parameters, "high_freq_factor", path),
    originalMaxPositions: positive({ [key]: original }, key, path),
  };
}

function eosIdsOf(json: Json): number[] {
  const eos = json.eos_token_id;
  return (Array.isArray(eos) ? eos : [eos]).filter((id): id is number => typeof id === "number");
}

function familyOf(json: Json, path: string): Family {
  const family = FAMILIES.find(({ modelType }) => modelType === json.model_type);
  if (family) return family;
  const known = FAMILIES.map(({ modelType }) => modelType).join(", ");
  return refuse(path, `model_type ${JSON.stringify(json.model_type)}`, `one of ${known}`);
}

/** Refuses what would load, but compute something else than the model does. */
function assertComputable(json: Json, path: string): void {
  const activation = json.hidden_act ?? "silu";
  if (activation !== "silu") refuse(path, `hidden_act ${JSON.stringify(activation)}`, '"silu"');
  if (json.attention_dropout) refuse(path, `attention_dropout ${json.attention_dropout}`, "0");
  if (json.quantization_config) refuse(path, "quantization_config", "weights in f32, bf16 or f16");
  const layerTypes = Array.isArray(json.layer_types) ? json.layer_types : [];
  const other = layerTypes.find((type) => type !== "full_attention" && type !== "sliding_attention");
  if (other !== undefined) refuse(path, `layer type ${JSON.stringify(other)}`, '"full_attention"');
}

/**
 * Reads config.json text.
 * @param path named in errors
 * @throws TypeError when the family is another, or has a feature that this program does not compute
 */
export function parseModelConfig(text: string, path: string): ModelConfig {
  let json: Json;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new TypeError(`${path}: not valid JSON (${(error as Error).message})`);
  }
  const family = familyOf(json, path);
  assertComputable(json, path);
  const hiddenSize = positiveInteger(json, "hidden_size", path);
  const heads = positiveInteger(json, "num_attention_heads", path);
  const kvHeads = json.num_key_value_heads === null
    ? heads
    : positiveInteger(json, "num_key_value_heads", path, family.defaults.kvHeads ?? heads);
  const headDim = positiveInteger(json, "head_dim", path, family.defaults.headDim ?? hiddenSize / heads);
  if (heads % kvHeads) {
    throw new TypeError(
      `${path}: num_attention_heads ${heads} must be a multiple of num_key_value_heads ${kvHeads}`,
    );
  }
  const { theta, scaling } = ropeOf(json, path);
  const positions = positiveInteger(json, "max_position_embeddings", path, family.defaults.maxPositions);
  return {
    layout: family.layout,
    hiddenSize,
    intermediateSize: positiveInteger(json, "intermediate_size", path),
    layers: positiveInteger(json, "num_hidden_layers", path),
    heads,
    kvHeads,
    headDim,
    vocabSize: positiveInteger(json, "vocab_size", path),
    maxPositions: family.fullPositions(json, positions, path),
    rmsNormEps: positive(json, "rms_norm_eps", path, 1e-6),
    ropeTheta: theta,
    ropeScaling: scaling,
    biases: family.biases(json),
    headNorms: family.headNorms,
    tiedEmbeddings: json.tie_word_embeddings === true,
    eosIds: eosIdsOf(json),
  };
}
