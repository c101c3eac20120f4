/** Gemma 2: every other layer slides; scores and logits are capped. */
import type { Family } from "./family.ts";
import { gemmaArithmetic, gemmaBiases } from "./gemma.ts";
import { slidingLayers, windowOf } from "./layer_kinds.ts";
import { GEMMA_LAYOUT } from "./layout.ts";

export const GEMMA2: Family = {
  modelType: "gemma2",
  defaults: { kvHeads: 4, headDim: 256, maxPositions: 8192, tiedEmbeddings: true },
  biases: gemmaBiases,
  headNorms: false,
  layerKinds(json, layers, path) {
    const window = windowOf(json, path, 4096);
    return slidingLayers(json, layers, path, (l) => l % 2 === 0)
      .map((slides) => ({ window: slides ? window : null, rope: "global" }));
  },
  arithmetic: (json, path) => gemmaArithmetic(json, path, { attention: 50, logits: 30 }),
  layout: GEMMA_LAYOUT,
};
