/** Llama 1 to 3, and what says it is one. */
import type { Family, Json } from "./family.ts";
import { fullEverywhere } from "./layer_kinds.ts";
import { type Biases, LLAMA_LAYOUT } from "./layout.ts";

/** On attention's layers, and on the MLP's, where config.json asks for them. */
export const llamaBiases = ({ attention_bias, mlp_bias }: Json): Biases => ({
  qkv: !!attention_bias,
  output: !!attention_bias,
  mlp: !!mlp_bias,
});

export const LLAMA: Family = {
  modelType: "llama",
  defaults: { kvHeads: null, headDim: null, maxPositions: 2048 },
  biases: llamaBiases,
  headNorms: false,
  layerKinds: fullEverywhere,
  layout: LLAMA_LAYOUT,
};
