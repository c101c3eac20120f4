/** config.json of a Llama-family model, checked. */
import type { RopeScaling } from "../ops/rope.ts";

export interface ModelConfig {
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  vocabSize: number;
  maxPositions: number;
  rmsNormEps: number;
  ropeTheta: number;
  ropeScaling: RopeScaling | undefined;
  tiedEmbeddings: boolean;
  eosIds: number[];
}

type Json = Record<string, unknown>;

function positive(json: Json, key: string, path: string, fallback?: number): number {
  const value = json[key] ?? fallback;
  if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
  throw new TypeError(
    `${path}: "${key}" must be a positive number, got ${
      JSON.stringify(value)
    }; is this a Llama model's config.json?`,
  );
}

function positiveInteger(json: Json, key: string, path: string, fallback?: number): number {
  const value = positive(json, key, path, fallback);
  if (Number.isInteger(value)) return value;
  throw new TypeError(`${path}: "${key}" must be an integer, got ${value}`);
}

/** transformers 5 moved rope_theta and rope_scaling into rope_parameters. */
function ropeOf(json: Json, path: string): { theta: number; scaling: RopeScaling | undefined } {
  const parameters = (json.rope_parameters ?? {}) as Json;
  const theta = positive({ rope_theta: json.rope_theta ?? parameters.rope_theta }, "rope_theta", path, 10000);
  const scaling = (json.rope_scaling ?? parameters) as Json;
  const type = scaling.rope_type ?? scaling.type ?? "default";
  switch (type) {
    case "default":
      return { theta, scaling: undefined };
    case "linear":
      return { theta, scaling: { type: "linear", factor: positive(scaling, "factor", path) } };
    case "llama3":
      return {
        theta,
        scaling: {
          type: "llama3",
          factor: positive(scaling, "factor", path),
          lowFreqFactor: positive(scaling, "low_freq_factor", path),
          highFreqFactor: positive(scaling, "high_freq_factor", path),
          originalMaxPositions: positive(scaling, "original_max_position_embeddings", path),
        },
      };
    default:
      throw new TypeError(
        `${path}: rope type ${
          JSON.stringify(type)
        } is not supported; supported are default, linear and llama3`,
      );
  }
}

function eosIdsOf(json: Json): number[] {
  const eos = json.eos_token_id;
  return (Array.isArray(eos) ? eos : [eos]).filter((id): id is number => typeof id === "number");
}

function assertLlama(json: Json, path: string): void {
  if (json.model_type !== "llama") {
    throw new TypeError(
      `${path}: model_type ${JSON.stringify(json.model_type)} is not supported; need "llama"`,
    );
  }
  if ((json.hidden_act ?? "silu") !== "silu") {
    throw new TypeError(
      `${path}: hidden_act ${JSON.stringify(json.hidden_act)} is not supported; need "silu"`,
    );
  }
  if (json.attention_bias || json.mlp_bias) {
    throw new TypeError(`${path}: attention_bias and mlp_bias are not supported; need a model without them`);
  }
}

/**
 * Reads config.json text.
 * @param path named in errors
 * @throws TypeError for what is no Llama config, or a feature that this program does not compute
 */
export function parseModelConfig(text: string, path: string): ModelConfig {
  let json: Json;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new TypeError(`${path}: not valid JSON (${(error as Error).message})`);
  }
  assertLlama(json, path);
  const hiddenSize = positiveInteger(json, "hidden_size", path);
  const heads = positiveInteger(json, "num_attention_heads", path);
  const kvHeads = positiveInteger(json, "num_key_value_heads", path, heads);
  const headDim = positiveInteger(json, "head_dim", path, hiddenSize / heads);
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
    maxPositions: positiveInteger(json, "max_position_embeddings", path, 2048),
    rmsNormEps: positive(json, "rms_norm_eps", path, 1e-6),
    ropeTheta: theta,
    ropeScaling: scaling,
    tiedEmbeddings: json.tie_word_embeddings === true,
    eosIds: eosIdsOf(json),
  };
}
