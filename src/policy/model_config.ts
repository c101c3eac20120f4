/** config.json of a model, read by the rules of its family. */
import { parsedObject, shortJson } from "../config/parsed_json.ts";
import { positive, positiveInteger, refuse } from "./families/config_values.ts";
import { FAMILIES } from "./families/families.ts";
import type { Activation, Arithmetic, Family, Json, ModelConfig } from "./families/family.ts";
import { parseRope } from "./rope_config.ts";

function eosIdsOf(json: Json): number[] {
  const eos = json.eos_token_id;
  return (Array.isArray(eos) ? eos : [eos]).filter((id): id is number => typeof id === "number");
}

function familyOf(json: Json, path: string): Family {
  const family = FAMILIES.find(({ modelType }) => modelType === json.model_type);
  if (family) return family;
  const known = FAMILIES.map(({ modelType }) => modelType).join(", ");
  return refuse(path, `model_type ${shortJson(json.model_type)}`, `one of ${known}`);
}

/** Where config.json names each activation, and how. */
const ACTIVATIONS: Record<Activation, { key: string; name: string }> = {
  silu: { key: "hidden_act", name: "silu" },
  gelu_tanh: { key: "hidden_activation", name: "gelu_pytorch_tanh" },
};

/** Refuses what would load, but compute something else than the model does. */
function assertComputable(json: Json, path: string, computed: Activation): void {
  const { key, name } = ACTIVATIONS[computed];
  const activation = json[key] ?? name;
  if (activation !== name) refuse(path, `${key} ${shortJson(activation)}`, shortJson(name));
  if (json.attention_dropout) refuse(path, `attention_dropout ${shortJson(json.attention_dropout)}`, "0");
  if (json.quantization_config) refuse(path, "quantization_config", "weights in f32, bf16 or f16");
  const layerTypes = Array.isArray(json.layer_types) ? json.layer_types : [];
  const other = layerTypes.find((type) => type !== "full_attention" && type !== "sliding_attention");
  if (other !== undefined) {
    refuse(path, `layer type ${shortJson(other)}`, '"full_attention" or "sliding_attention"');
  }
}

/** What Llama computes. */
const LLAMA_ARITHMETIC: Arithmetic = {
  activation: "silu",
  unitOffsetNorms: false,
  embeddingScale: 1,
  roundsEmbeddingScale: false,
  residualScale: 1,
  attentionScale: null,
  attentionSoftcap: null,
  logitsDivisor: 1,
  logitsSoftcap: null,
};

/** The sizes of heads. @throws TypeError when they do not fit together */
function headsOf(json: Json, { defaults }: Family, hiddenSize: number, path: string) {
  const heads = positiveInteger(json, "num_attention_heads", path, defaults.heads);
  const kvHeads = json.num_key_value_heads === null
    ? heads
    : positiveInteger(json, "num_key_value_heads", path, defaults.kvHeads ?? heads);
  const headDim = positiveInteger(json, "head_dim", path, defaults.headDim ?? hiddenSize / heads);
  if (heads % kvHeads) {
    throw new TypeError(
      `${path}: num_attention_heads ${heads} must be a multiple of num_key_value_heads ${kvHeads}`,
    );
  }
  return { heads, kvHeads, headDim };
}

/** The ropes that turn heads of `headDim`. @throws TypeError when the part that turns is no multiple of 4 */
function ropesOf(json: Json, family: Family, headDim: number, path: string) {
  const positions = positiveInteger(json, "max_position_embeddings", path, family.defaults.maxPositions);
  const rules = { ropeTheta: family.defaults.ropeTheta, isPartlyRotated: family.isPartlyRotated };
  const ropes = family.ropesOf?.(json, path);
  const global = parseRope(ropes?.global ?? json, positions, path, rules);
  const local = ropes ? parseRope(ropes.local, positions, path, rules) : null;
  const rotatedDim = Math.floor(headDim * global.rotatedShare);
  if (global.rotatedShare < 1 && (rotatedDim % 4 !== 0 || rotatedDim === 0)) {
    refuse(
      path,
      `partial_rotary_factor ${global.rotatedShare} of heads of ${headDim}`,
      `a part that is a multiple of 4, not ${rotatedDim}`,
    );
  }
  return {
    maxPositions: Math.min(global.maxPositions, local?.maxPositions ?? Infinity),
    ropeTheta: global.theta,
    ropeScaling: global.scaling,
    rotatedDim,
    localRope: local && { theta: local.theta, scaling: local.scaling },
  };
}

/** Far more than any model has; a number like 1e12 is a damaged file's. */
const MOST_LAYERS = 10_000;

/**
 * Reads config.json text.
 * @param path named in errors
 * @throws TypeError when the family is another, or has a feature that this program does not compute
 */
export function parseModelConfig(text: string, path: string): ModelConfig {
  const json = parsedObject(text, path, "download or copy it again");
  const family = familyOf(json, path);
  const arithmetic = { ...LLAMA_ARITHMETIC, ...family.arithmetic?.(json, path) };
  assertComputable(json, path, arithmetic.activation);
  const hiddenSize = positiveInteger(json, "hidden_size", path);
  const heads = headsOf(json, family, hiddenSize, path);
  const layers = positiveInteger(json, "num_hidden_layers", path);
  if (layers > MOST_LAYERS) refuse(path, `num_hidden_layers ${layers}`, `${MOST_LAYERS} at the most`);
  return {
    layout: family.layout,
    hiddenSize,
    intermediateSize: positiveInteger(json, "intermediate_size", path),
    layers,
    layerKinds: family.layerKinds(json, layers, path),
    ...heads,
    vocabSize: positiveInteger(json, "vocab_size", path, family.defaults.vocabSize),
    rmsNormEps: positive(json, "rms_norm_eps", path, family.defaults.rmsNormEps ?? 1e-6),
    ...ropesOf(json, family, heads.headDim, path),
    biases: family.biases(json),
    headNorms: family.headNorms,
    ...arithmetic,
    tiedEmbeddings: (json.tie_word_embeddings ?? family.defaults.tiedEmbeddings) === true,
    eosIds: eosIdsOf(json),
  };
}
