/** Attention that slides is computed as full attention, up to the positions where both are the same. */
import { positiveInteger, refuse } from "./config_values.ts";
import type { Family } from "./family.ts";

type FullPositions = Family["fullPositions"];

/** No layer slides. */
export const allPositions: FullPositions = (_json, positions) => positions;

/** Every layer slides, unless sliding_window is null. @param unset the window where config.json leaves it out */
export function slidingEverywhere(unset: number): FullPositions {
  return ({ sliding_window: window = unset }, positions, path) =>
    window === null
      ? positions
      : Math.min(positions, positiveInteger({ sliding_window: window }, "sliding_window", path));
}

/** Some layers slide, where use_sliding_window asks for it: a window that no sequence leaves does nothing. */
export const slidingWhereAsked: FullPositions = (json, positions, path) => {
  const asked = json.use_sliding_window ? json.sliding_window ?? null : null;
  if (asked === null) return positions;
  const window = positiveInteger({ sliding_window: asked }, "sliding_window", path);
  if (window >= positions) return positions;
  return refuse(
    path,
    `use_sliding_window with a window of ${window} in ${positions} positions`,
    `"use_sliding_window": false, or "max_position_embeddings": ${window} where no sequence is longer`,
  );
};
