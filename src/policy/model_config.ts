/** config.json of a model, read by the rules of its family. */
import { positive, positiveInteger, refuse } from "./families/config_values.ts";
import { FAMILIES } from "./families/families.ts";
import type { Family, Json, ModelConfig } from "./families/family.ts";
import { parseRope } from "./rope_config.ts";

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
  const positions = positiveInteger(json, "max_position_embeddings", path, family.defaults.maxPositions);
  const rope = parseRope(json, positions, path);
  return {
    layout: family.layout,
    hiddenSize,
    intermediateSize: positiveInteger(json, "intermediate_size", path),
    layers: positiveInteger(json, "num_hidden_layers", path),
    heads,
    kvHeads,
    headDim,
    vocabSize: positiveInteger(json, "vocab_size", path),
    maxPositions: family.fullPositions(json, rope.maxPositions, path),
    rmsNormEps: positive(json, "rms_norm_eps", path, 1e-6),
    ropeTheta: rope.theta,
    ropeScaling: rope.scaling,
    biases: family.biases(json),
    headNorms: family.headNorms,
    tiedEmbeddings: json.tie_word_embeddings === true,
    eosIds: eosIdsOf(json),
  };
}
