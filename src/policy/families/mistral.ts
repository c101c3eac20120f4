/** Mistral: a Llama whose attention slides, in every layer. */
import type { Family } from "./family.ts";
import { slidingEverywhere } from "./layer_kinds.ts";
import { LLAMA_LAYOUT } from "./layout.ts";

export const MISTRAL: Family = {
  modelType: "mistral",
  defaults: { kvHeads: 8, headDim: null, maxPositions: 131072 },
  biases: () => ({ qkv: false, output: false, mlp: false }),
  headNorms: false,
  layerKinds: slidingEverywhere(4096),
  layout: LLAMA_LAYOUT,
};
