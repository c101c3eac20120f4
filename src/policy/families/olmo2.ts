/** OLMo 2: a Llama whose norms stand behind attention and MLP, and over queries and keys of all heads at once. */
import type { Family } from "./family.ts";
import { fullEverywhere } from "./layer_kinds.ts";
import { OLMO2_LAYOUT } from "./layout.ts";

export const OLMO2: Family = {
  modelType: "olmo2",
  defaults: { kvHeads: null, headDim: null, maxPositions: 2048, rmsNormEps: 1e-5 },
  biases: ({ attention_bias }) => ({ qkv: !!attention_bias, output: !!attention_bias, mlp: false }),
  headNorms: false,
  layerKinds: fullEverywhere,
  layout: OLMO2_LAYOUT,
};
