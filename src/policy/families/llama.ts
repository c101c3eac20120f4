/** Llama 1 to 3, and what says it is one. */
import type { Family } from "./family.ts";
import { fullEverywhere } from "./layer_kinds.ts";
import { LLAMA_LAYOUT } from "./layout.ts";

export const LLAMA: Family = {
  modelType: "llama",
  defaults: { kvHeads: null, headDim: null, maxPositions: 2048 },
  biases: ({ attention_bias, mlp_bias }) => ({
    qkv: !!attention_bias,
    output: !!attention_bias,
    mlp: !!mlp_bias,
  }),
  headNorms: false,
  layerKinds: fullEverywhere,
  layout: LLAMA_LAYOUT,
};
