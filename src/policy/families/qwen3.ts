/** Qwen3: a Llama whose queries and keys are normed head by head. */
import type { Family } from "./family.ts";
import { slidingWhereAsked } from "./layer_kinds.ts";
import { LLAMA_LAYOUT } from "./layout.ts";

export const QWEN3: Family = {
  modelType: "qwen3",
  defaults: { kvHeads: 32, headDim: 128, maxPositions: 32768 },
  biases: ({ attention_bias }) => ({ qkv: !!attention_bias, output: !!attention_bias, mlp: false }),
  headNorms: true,
  layerKinds: slidingWhereAsked,
  layout: LLAMA_LAYOUT,
};
