/** config.json of a model of the Llama, Mistral, Qwen2 or Qwen3 family, checked. */
import type { RopeScaling } from "../ops/attention/rope.ts";

export interface ModelConfig {
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  vocabSize: number;
  /** Longest sequence, in tokens. Where attention slides, its window: up to there it is full attention. */
  maxPositions: number;
  rmsNormEps: number;
  ropeTheta: number;
  ropeScaling: RopeScaling | undefined;
  /** Which linear layers add a bias. */
  biases: { qkv: boolean; output: boolean; mlp: boolean };
  /** Queries and keys are RMS-normed head by head before they are rotated (Qwen3). */
  headNorms: boolean;
  tiedEmbeddings: boolean;
  eosIds: number[];
}

type Json = Record<string, unknown>;

/** What a model_type implies, and what it takes for a key that config.json leaves out (as in transformers). */
interface Family {
  /** Key heads; null: as many as query heads. */
  kvHeads: number | null;
  /** null: hidden_size / num_attention_heads. */
  headDim: number | null;
  maxPositions: number;
  biases(json: Json): ModelConfig["biases"];
  headNorms: boolean;
  /** Tokens that one attends to, itself included; null: all. */
  window(json: Json): unknown;
}

/** Qwen: some of the layers slide, where it is asked for. */
const optedWindow = (json: Json) => json.use_sliding_window ? json.sliding_window ?? null : null;

const FAMILIES: Record<string, Family> = {
  llama: {
    kvHeads: null,
    headDim: null,
    maxPositions: 2048,
    biases: ({ attention_bias, mlp_bias }) => ({
      qkv: !!attention_bias,
      output: !!attention_bias,
      mlp: !!mlp_bias,
    }),
    headNorms: false,
    window: () => null,
  },
  mistral: {
    kvHeads: 8,
    headDim: null,
    maxPositions: 131072,
    biases: () => ({ qkv: false, output: false, mlp: false }),
    headNorms: false,
    window: ({ sliding_window }) => sliding_window === undefined ? 4096 : sliding_window,
  },
  qwen2: {
    kvHeads: 32,
    headDim: null,
    maxPositions: 32768,
    biases: () => ({ qkv: true, output: false, mlp: false }),
    headNorms: false,
    window: optedWindow,
  },
  qwen3: {
    kvHeads: 32,
    headDim: 128,
    maxPositions: 32768,
    biases: ({ attention_bias }) => ({ qkv: !!attention_bias, output: !!attention_bias, mlp: false }),
    headNorms: true,
    window: optedWindow,
  },
};

function positive(json: Json, key: string, path: string, fallback?: number): number {
  const value = json[key] ?? fallback;
  if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
  throw new TypeError(
    `${path}: "${key}" must be a positive number, got ${
      JSON.stringify(value)
    }; is this the config.json of a language model?`,
  );
}

function positiveInteger(json: Json, key: string, path: string, fallback?: number): number {
  const value = positive(json, key, path, fallback);
  if (Number.isInteger(value)) return value;
  throw new TypeError(`${path}: "${key}" must be an integer, got ${value}`);
}

const isObject = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);

function refuse(path: string, what: string, need: string): never {
  throw new TypeError(`${path}: ${what} is not supported; need ${need}`);
}

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
  const known = Object.keys(FAMILIES);
  if (typeof json.model_type === "string" && known.includes(json.model_type)) {
    return FAMILIES[json.model_type];
  }
  refuse(path, `model_type ${JSON.stringify(json.model_type)}`, `one of ${known.join(", ")}`);
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

/** Positions up to which every layer of the model is full causal attention. */
function maxPositionsOf(json: Json, family: Family, path: string): number {
  const positions = positiveInteger(json, "max_position_embeddings", path, family.maxPositions);
  if (family.window(json) === null) return positions;
  const window = positiveInteger({ sliding_window: family.window(json) }, "sliding_window", path);
  if (family.window === optedWindow && window < positions) {
    refuse(
      path,
      `use_sliding_window with a window of ${window} in ${positions} positions`,
      `"use_sliding_window": false, or "max_position_embeddings": ${window} where no sequence is longer`,
    );
  }
  return Math.min(positions, window);
}

/**
 * Reads config.json text.
 * @param path named in errors
 * @throws TypeError for another family, or a feature that this program does not compute
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
    : positiveInteger(json, "num_key_value_heads", path, family.kvHeads ?? heads);
  const headDim = positiveInteger(json, "head_dim", path, family.headDim ?? hiddenSize / heads);
  if (heads % kvHeads) {
    throw new TypeError(
      `${path}: num_attention_heads ${heads} must be a multiple of num_key_value_heads ${kvHeads}`,
    );
  }
  const { theta, scaling } = ropeOf(json, path);
  return {
    hiddenSize,
    intermediateSize: positiveInteger(json, "intermediate_size", path),
    layers: positiveInteger(json, "num_hidden_layers", path),
    heads,
    kvHeads,
    headDim,
    vocabSize: positiveInteger(json, "vocab_size", path),
    maxPositions: maxPositionsOf(json, family, path),
    rmsNormEps: positive(json, "rms_norm_eps", path, 1e-6),
    ropeTheta: theta,
    ropeScaling: scaling,
    biases: family.biases(json),
    headNorms: family.headNorms,
    tiedEmbeddings: json.tie_word_embeddings === true,
    eosIds: eosIdsOf(json),
  };
}
