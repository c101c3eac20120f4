/** Gemma 3: five layers of six slide, turned by a rope of their own; queries and keys are normed head by head. */
import { shortJson } from "../../config/parsed_json.ts";
import { isObject, positive, positiveInteger, refuse } from "./config_values.ts";
import type { Family, Json } from "./family.ts";
import { gemmaArithmetic, gemmaBiases } from "./gemma.ts";
import { slidingLayers, windowOf } from "./layer_kinds.ts";
import { GEMMA_LAYOUT } from "./layout.ts";

/** transformers 5 has a rope for each kind of layer; before, the scaling was of the full ones alone. */
function ropesOf(json: Json, path: string): { global: Json; local: Json } {
  const parameters = json.rope_parameters ?? {};
  const kinds = isObject(parameters) ? Object.keys(parameters) : [];
  if (
    !isObject(parameters) || kinds.some((kind) => kind !== "full_attention" && kind !== "sliding_attention")
  ) {
    refuse(
      path,
      `rope_parameters ${shortJson(parameters)}`,
      '"full_attention" and "sliding_attention" in it',
    );
  }
  const kindOf = (kind: string) => isObject(parameters[kind]) ? parameters[kind] : {};
  const theta = (key: string, unset: number) => positive(json, key, path, unset);
  return {
    global: {
      ...json,
      rope_scaling: undefined,
      rope_parameters: {
        rope_theta: theta("rope_theta", 1e6),
        ...kindOf("full_attention"),
        ...isObject(json.rope_scaling) ? json.rope_scaling : {},
      },
    },
    local: {
      ...json,
      rope_scaling: undefined,
      rope_parameters: { rope_theta: theta("rope_local_base_freq", 1e4), ...kindOf("sliding_attention") },
    },
  };
}

export const GEMMA3_TEXT: Family = {
  modelType: "gemma3_text",
  defaults: {
    kvHeads: 4,
    headDim: 256,
    maxPositions: 131072,
    tiedEmbeddings: true,
    heads: 8,
    vocabSize: 262208,
  },
  biases: gemmaBiases,
  headNorms: true,
  layerKinds(json, layers, path) {
    const window = windowOf(json, path, 4096);
    const period = positiveInteger(json, "sliding_window_pattern", path, 6);
    return slidingLayers(json, layers, path, (l) => (l + 1) % period !== 0)
      .map((slides) => slides ? { window, rope: "local" } : { window: null, rope: "global" });
  },
  arithmetic: (json, path) => gemmaArithmetic(json, path, { attention: null, logits: null }),
  ropesOf,
  layout: GEMMA_LAYOUT,
};
