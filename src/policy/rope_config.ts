/** The rope of a config.json: its base, its scaling, and how far it is the same function for every sequence. */
import { shortJson } from "../config/parsed_json.ts";
import type { RopeScaling } from "../ops/attention/rope_table.ts";
import { isObject, positive, positiveInteger, refuse } from "./families/config_values.ts";
import type { Json } from "./families/family.ts";

export interface RopeConfig {
  theta: number;
  scaling: RopeScaling | undefined;
  /** Share of a head's values that it turns: the first ones. */
  rotatedShare: number;
  /**
   * Positions up to which a rope that follows the length of the sequence is one rope. Past them a token's angles would
   * depend on how many tokens come after it.
   */
  maxPositions: number;
}

const ORIGINAL = "original_max_position_embeddings";

/** What a family's ropes are where config.json leaves it out, and what they may be. */
export interface RopeRules {
  ropeTheta?: number;
  isPartlyRotated?: boolean;
}

/**
 * Reads the rope in either spelling: transformers 5 moved rope_theta and rope_scaling into rope_parameters.
 * @param positions max_position_embeddings
 * @throws TypeError when the rope is another, or a value of it is missing or wrong
 */
export function parseRope(
  json: Json,
  positions: number,
  path: string,
  { ropeTheta = 10000, isPartlyRotated = false }: RopeRules = {},
): RopeConfig {
  const parameters = (json.rope_scaling ?? json.rope_parameters ?? {}) as Json;
  const nested = Object.keys(parameters).find((key) => isObject(parameters[key]));
  if (nested) refuse(path, `a rope of its own for "${nested}"`, "the same rope_parameters for all layers");
  const key = "partial_rotary_factor";
  const rotatedShare = positive({ [key]: parameters[key] ?? json[key] }, key, path, 1);
  if (rotatedShare > 1 || (rotatedShare < 1 && !isPartlyRotated)) {
    refuse(path, `partial_rotary_factor ${rotatedShare}`, "1 (all of a head rotated)");
  }
  const given = parameters.rope_theta ?? (json.rope_parameters as Json | null)?.rope_theta ?? json.rope_theta;
  const theta = positive({ rope_theta: given }, "rope_theta", path, ropeTheta);
  return { theta, rotatedShare, ...scalingOf(parameters, json, positions, path) };
}

type Scaling = Pick<RopeConfig, "scaling" | "maxPositions">;

function scalingOf(parameters: Json, json: Json, positions: number, path: string): Scaling {
  const original = () =>
    positiveInteger({ [ORIGINAL]: json[ORIGINAL] ?? parameters[ORIGINAL] ?? positions }, ORIGINAL, path);
  const type = typeOf(parameters);
  switch (type) {
    case "default":
      return { scaling: undefined, maxPositions: positions };
    case "linear":
      return { scaling: { type, factor: positive(parameters, "factor", path) }, maxPositions: positions };
    // Its base grows with a sequence that is longer than max_position_embeddings; up to there it is the plain rope.
    case "dynamic":
      positive(parameters, "factor", path);
      return { scaling: undefined, maxPositions: positions };
    case "llama3":
      return { scaling: llama3Of(parameters, original(), path), maxPositions: positions };
    case "yarn":
      return { scaling: yarnOf(parameters, positions, original(), path), maxPositions: positions };
    case "longrope":
      return longropeOf(parameters, positions, original(), path);
    default:
      return refuse(
        path,
        `rope type ${shortJson(type)}`,
        "default, linear, dynamic, llama3, yarn or longrope",
      );
  }
}

/** "su" was longrope's name, and so was "yarn" in files that hold the factors of longrope. */
function typeOf(parameters: Json): unknown {
  const type = parameters.rope_type ?? parameters.type ?? "default";
  return type === "su" || (type === "yarn" && parameters.short_factor) ? "longrope" : type;
}

function llama3Of(parameters: Json, originalMaxPositions: number, path: string): RopeScaling {
  return {
    type: "llama3",
    factor: positive(parameters, "factor", path),
    lowFreqFactor: positive(parameters, "low_freq_factor", path),
    highFreqFactor: positive(parameters, "high_freq_factor", path),
    originalMaxPositions,
  };
}

/** How much longer the context is than the one the model was made for. */
const stretchOf = (parameters: Json, positions: number, original: number, path: string) =>
  positive(parameters, "factor", path, positions / original);

/** arXiv:2309.00071, with the attention factor of 3.4 or DeepSeek's quotient of two. */
function yarnOf(parameters: Json, positions: number, original: number, path: string): RopeScaling {
  const factor = stretchOf(parameters, positions, original, path);
  const magnitude = (scale: number) => factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
  const { mscale, mscale_all_dim: ofAllDimensions, truncate } = parameters;
  const derived = mscale && ofAllDimensions
    ? magnitude(positive(parameters, "mscale", path)) /
      magnitude(positive(parameters, "mscale_all_dim", path))
    : magnitude(1);
  return {
    type: "yarn",
    factor,
    originalMaxPositions: original,
    attentionFactor: positive(parameters, "attention_factor", path, derived),
    betaFast: positive({ beta_fast: parameters.beta_fast || 32 }, "beta_fast", path),
    betaSlow: positive({ beta_slow: parameters.beta_slow || 1 }, "beta_slow", path),
    isTruncated: truncate === undefined || !!truncate,
  };
}

/**
 * arXiv:2402.13753. transformers takes the long factors for all tokens once a batch holds a sequence longer than the
 * original positions. Here no token may depend on its neighbours, or on what is sampled after it: sequences end there.
 */
function longropeOf(parameters: Json, positions: number, original: number, path: string): Scaling {
  const factor = stretchOf(parameters, positions, original, path);
  const derived = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
  const factors = parameters.short_factor;
  if (!Array.isArray(factors) || !factors.every((value) => Number.isFinite(value) && value > 0)) {
    throw new TypeError(`${path}: "short_factor" of a longrope must be a list of positive numbers`);
  }
  const attentionFactor = positive(parameters, "attention_factor", path, derived);
  return {
    scaling: { type: "longrope", factors, attentionFactor },
    maxPositions: Math.min(positions, original),
  };
}
