/** Llama 1 to 3, and what says it is one. */
import type { Family } from "./family.ts";
import { LLAMA_LAYOUT } from "./layout.ts";
import { allPositions } from "./sliding_window.ts";

export const LLAMA: Family = {
  modelType: "llama",
  defaults: { kvHeads: null, headDim: null, maxPositions: 2048 },
  biases: ({ attention_bias, mlp_bias }) => ({
    qkv: !!attention_bias,
    output: !!attention_bias,
    mlp: !!mlp_bias,
  }),
  headNorms: false,
  fullPositions: allPositions,
  layout: LLAMA_LAYOUT,
};
