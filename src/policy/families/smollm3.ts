/** SmolLM3: a Llama in which the rope turns three layers of four; the fourth may slide. */
import { shortJson } from "../../config/parsed_json.ts";
import { positiveInteger, refuse } from "./config_values.ts";
import type { Family, Json } from "./family.ts";
import { slidingLayers, windowOf } from "./layer_kinds.ts";
import { LLAMA_LAYOUT } from "./layout.ts";
import { llamaBiases } from "./llama.ts";

/** Whether the rope turns each layer: no_rope_layers holds a 1 for those that it does turn. */
function turnedLayers(json: Json, layers: number, path: string): boolean[] {
  const given = json.no_rope_layers ?? null;
  if (given === null) {
    const interval = positiveInteger(json, "no_rope_layer_interval", path, 4);
    return Array.from({ length: layers }, (_, l) => (l + 1) % interval !== 0);
  }
  if (Array.isArray(given) && given.length >= layers) return given.slice(0, layers).map(Boolean);
  return refuse(path, `no_rope_layers ${shortJson(given)}`, `a 0 or 1 for each of the ${layers} layers`);
}

export const SMOLLM3: Family = {
  modelType: "smollm3",
  defaults: { kvHeads: 4, headDim: null, maxPositions: 32768, ropeTheta: 2e6, tiedEmbeddings: true },
  biases: llamaBiases,
  headNorms: false,
  layerKinds(json, layers, path) {
    const turned = turnedLayers(json, layers, path);
    const window = json.use_sliding_window ? windowOf(json, path, null) : null;
    return slidingLayers(json, layers, path, (l) => !turned[l]).map((slides, l) => ({
      window: slides ? window : null,
      rope: turned[l] ? "global" : null,
    }));
  },
  layout: LLAMA_LAYOUT,
};
