/** Granite 3: a Llama that scales embeddings, attention, what layers add, and logits by numbers of config.json. */
import { positive } from "./config_values.ts";
import type { Family } from "./family.ts";
import { fullEverywhere } from "./layer_kinds.ts";
import { LLAMA_LAYOUT } from "./layout.ts";
import { llamaBiases } from "./llama.ts";

export const GRANITE: Family = {
  modelType: "granite",
  defaults: { kvHeads: null, headDim: null, maxPositions: 2048 },
  biases: llamaBiases,
  headNorms: false,
  layerKinds: fullEverywhere,
  arithmetic: (json, path) => ({
    embeddingScale: positive(json, "embedding_multiplier", path, 1),
    residualScale: positive(json, "residual_multiplier", path, 1),
    attentionScale: positive(json, "attention_multiplier", path, 1),
    logitsDivisor: positive(json, "logits_scaling", path, 1),
  }),
  layout: LLAMA_LAYOUT,
};
