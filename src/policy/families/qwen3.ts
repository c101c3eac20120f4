/** Qwen3: a Llama whose queries and keys are normed head by head. */
import type { Family } from "./family.ts";
import { LLAMA_LAYOUT } from "./layout.ts";
import { slidingWhereAsked } from "./sliding_window.ts";

export const QWEN3: Family = {
  modelType: "qwen3",
  defaults: { kvHeads: 32, headDim: 128, maxPositions: 32768 },
  biases: ({ attention_bias }) => ({ qkv: !!attention_bias, output: !!attention_bias, mlp: false }),
  headNorms: true,
  fullPositions: slidingWhereAsked,
  layout: LLAMA_LAYOUT,
};
