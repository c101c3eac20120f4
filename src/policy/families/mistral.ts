/** Mistral: a Llama whose attention slides, in every layer. */
import type { Family } from "./family.ts";
import { LLAMA_LAYOUT } from "./layout.ts";
import { slidingEverywhere } from "./sliding_window.ts";

export const MISTRAL: Family = {
  modelType: "mistral",
  defaults: { kvHeads: 8, headDim: null, maxPositions: 131072 },
  biases: () => ({ qkv: false, output: false, mlp: false }),
  headNorms: false,
  fullPositions: slidingEverywhere(4096),
  layout: LLAMA_LAYOUT,
};
