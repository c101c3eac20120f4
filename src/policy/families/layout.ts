/** The parameters of a model: their names in its files, and the shapes that config.json implies. */
import type { Weight } from "../../ops/weight/weight.ts";

/** Optional: what only some families have. */
export interface LayerWeights {
  inputNorm: Weight;
  query: Weight;
  key: Weight;
  value: Weight;
  output: Weight;
  postNorm: Weight;
  gate: Weight;
  up: Weight;
  down: Weight;
  queryBias?: Weight;
  keyBias?: Weight;
  valueBias?: Weight;
  outputBias?: Weight;
  queryNorm?: Weight;
  keyNorm?: Weight;
  gateBias?: Weight;
  upBias?: Weight;
  downBias?: Weight;
}

/** A parameter of a layer. @param name in the file, behind the layer's own prefix */
type Parameter = readonly [field: keyof LayerWeights, name: string, shape: number[]];

/** Which linear layers add a bias. */
export interface Biases {
  qkv: boolean;
  output: boolean;
  mlp: boolean;
}

/** What decides which parameters a layer has, and their shapes. */
export interface LayerSizes {
  hiddenSize: number;
  intermediateSize: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  biases: Biases;
  /** Queries and keys are RMS-normed head by head before they are rotated (Qwen3). */
  headNorms: boolean;
}

/** Names of a model's parameters in its files. */
export interface Layout {
  embedding: string;
  norm: string;
  /** Of a language model. */
  head: string;
  /** Of a score model, as safe-rlhf saves it; whether there is a bias is decided by the file. */
  scoreHead: { weight: string; bias: string };
  /** What stands before the names of a layer's parameters. */
  layerPrefix(layer: number): string;
  layerParameters(sizes: LayerSizes): Parameter[];
}

/** The layout of Llama, which Mistral and Qwen have too, with biases and norms of heads where they have any. */
export const LLAMA_LAYOUT: Layout = {
  embedding: "model.embed_tokens.weight",
  norm: "model.norm.weight",
  head: "lm_head.weight",
  scoreHead: { weight: "score_head.weight", bias: "score_head.bias" },
  layerPrefix: (layer) => `model.layers.${layer}.`,
  layerParameters(sizes) {
    const { hiddenSize: D, intermediateSize: F, headDim, biases, headNorms } = sizes;
    const [Q, K] = [sizes.heads * headDim, sizes.kvHeads * headDim];
    const all: [...Parameter, present?: boolean][] = [
      ["inputNorm", "input_layernorm.weight", [D]],
      ["query", "self_attn.q_proj.weight", [Q, D]],
      ["key", "self_attn.k_proj.weight", [K, D]],
      ["value", "self_attn.v_proj.weight", [K, D]],
      ["output", "self_attn.o_proj.weight", [D, Q]],
      ["postNorm", "post_attention_layernorm.weight", [D]],
      ["gate", "mlp.gate_proj.weight", [F, D]],
      ["up", "mlp.up_proj.weight", [F, D]],
      ["down", "mlp.down_proj.weight", [D, F]],
      ["queryBias", "self_attn.q_proj.bias", [Q], biases.qkv],
      ["keyBias", "self_attn.k_proj.bias", [K], biases.qkv],
      ["valueBias", "self_attn.v_proj.bias", [K], biases.qkv],
      ["outputBias", "self_attn.o_proj.bias", [D], biases.output],
      ["queryNorm", "self_attn.q_norm.weight", [headDim], headNorms],
      ["keyNorm", "self_attn.k_norm.weight", [headDim], headNorms],
      ["gateBias", "mlp.gate_proj.bias", [F], biases.mlp],
      ["upBias", "mlp.up_proj.bias", [F], biases.mlp],
      ["downBias", "mlp.down_proj.bias", [D], biases.mlp],
    ];
    return all.flatMap(([field, name, shape, present = true]) => present ? [[field, name, shape]] : []);
  },
};
