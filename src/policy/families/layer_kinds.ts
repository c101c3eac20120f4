/** Which layers of a model slide, as transformers reads it from config.json. */
import { shortJson } from "../../config/parsed_json.ts";
import { positiveInteger, refuse } from "./config_values.ts";
import type { Family, Json, LayerKind } from "./family.ts";

type LayerKinds = Family["layerKinds"];

const FULL: LayerKind = { window: null, rope: "global" };

/** No layer slides. */
export const fullEverywhere: LayerKinds = (_json, layers) => Array<LayerKind>(layers).fill(FULL);

/** The window of sliding layers, null where there is none. @param unset where config.json leaves it out */
export function windowOf(
  { sliding_window: window }: Json,
  path: string,
  unset: number | null,
): number | null {
  const given = window === undefined ? unset : window;
  return given === null ? null : positiveInteger({ sliding_window: given }, "sliding_window", path);
}

/** Every layer slides, unless sliding_window is null. @param unset the window where config.json leaves it out */
export function slidingEverywhere(unset: number | null): LayerKinds {
  return (json, layers, path) => {
    const window = windowOf(json, path, unset);
    return Array<LayerKind>(layers).fill({ ...FULL, window });
  };
}

/**
 * Whether each layer slides: by layer_types, or by a rule where config.json leaves these out.
 * @throws TypeError when layer_types is of another length
 */
export function slidingLayers(
  { layer_types: types }: Json,
  layers: number,
  path: string,
  rule: (layer: number) => boolean,
): boolean[] {
  if (types === undefined || types === null) return Array.from({ length: layers }, (_, l) => rule(l));
  if (Array.isArray(types) && types.length === layers) {
    return types.map((type) => type === "sliding_attention");
  }
  return refuse(path, `layer_types ${shortJson(types)}`, `one for each of the ${layers} layers`);
}

/** Layers from max_window_layers on slide, or those of layer_types, where use_sliding_window asks for it (Qwen). */
export const slidingWhereAsked: LayerKinds = (json, layers, path) => {
  const window = json.use_sliding_window ? windowOf(json, path, 4096) : null;
  const first = typeof json.max_window_layers === "number" ? json.max_window_layers : 28;
  return slidingLayers(json, layers, path, (l) => l >= first)
    .map((slides) => ({ ...FULL, window: slides ? window : null }));
};
