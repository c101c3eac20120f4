/** Qwen2 and 2.5: a Llama with biases on queries, keys and values. */
import type { Family } from "./family.ts";
import { slidingWhereAsked } from "./layer_kinds.ts";
import { LLAMA_LAYOUT } from "./layout.ts";

export const QWEN2: Family = {
  modelType: "qwen2",
  defaults: { kvHeads: 32, headDim: null, maxPositions: 32768 },
  biases: () => ({ qkv: true, output: false, mlp: false }),
  headNorms: false,
  layerKinds: slidingWhereAsked,
  layout: LLAMA_LAYOUT,
};
