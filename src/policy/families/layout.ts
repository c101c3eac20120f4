/** The parameters of a model: their names in its files, and the shapes that config.json implies. */
import type { Weight } from "../../ops/weight/weight.ts";

/** Optional: what only some families have. */
export interface LayerWeights {
  /** Before attention. */
  inputNorm?: Weight;
  query?: Weight;
  key?: Weight;
  value?: Weight;
  /** Query, key and value one below the other, in one matrix instead of three (Phi-3). */
  queryKeyValue?: Weight;
  output: Weight;
  /** Of what attention adds to the residual stream. */
  outputNorm?: Weight;
  /** Before the MLP. */
  mlpNorm?: Weight;
  gate?: Weight;
  up?: Weight;
  /** Gate and up one below the other, in one matrix instead of two (Phi-3). */
  gateUp?: Weight;
  down: Weight;
  /** Of what the MLP adds to the residual stream. */
  downNorm?: Weight;
  queryBias?: Weight;
  keyBias?: Weight;
  valueBias?: Weight;
  outputBias?: Weight;
  /** Over each head, or over all of them at once: as long as what is normed. */
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
  /** Queries and keys are RMS-normed head by head before they are rotated (Qwen3, Gemma 3). */
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

/** Norms over the hidden size, in the order of a layer. */
type LayerNorm = "inputNorm" | "outputNorm" | "mlpNorm" | "downNorm";

/** What families' layers differ in. */
interface LayoutOptions {
  /** Names of the norms that a layer has. */
  norms: Partial<Record<LayerNorm, string>>;
  /** Queries and keys are normed over all heads at once (OLMo 2). */
  hasWholeNorms?: boolean;
  /** Query, key and value are one matrix, and so are gate and up (Phi-3). */
  isFused?: boolean;
}

function makeLayout({ norms, hasWholeNorms = false, isFused = false }: LayoutOptions): Layout {
  return {
    embedding: "model.embed_tokens.weight",
    norm: "model.norm.weight",
    head: "lm_head.weight",
    scoreHead: { weight: "score_head.weight", bias: "score_head.bias" },
    layerPrefix: (layer) => `model.layers.${layer}.`,
    layerParameters(sizes) {
      const { hiddenSize: D, intermediateSize: F, headDim, biases, headNorms } = sizes;
      const [Q, K] = [sizes.heads * headDim, sizes.kvHeads * headDim];
      const norm = (field: LayerNorm): [...Parameter, present?: boolean] => {
        return [field, `${norms[field]}.weight`, [D], norms[field] !== undefined];
      };
      const hasNorms = headNorms || hasWholeNorms;
      const all: [...Parameter, present?: boolean][] = [
        norm("inputNorm"),
        ["query", "self_attn.q_proj.weight", [Q, D], !isFused],
        ["key", "self_attn.k_proj.weight", [K, D], !isFused],
        ["value", "self_attn.v_proj.weight", [K, D], !isFused],
        ["queryKeyValue", "self_attn.qkv_proj.weight", [Q + 2 * K, D], isFused],
        ["output", "self_attn.o_proj.weight", [D, Q]],
        norm("outputNorm"),
        norm("mlpNorm"),
        ["gate", "mlp.gate_proj.weight", [F, D], !isFused],
        ["up", "mlp.up_proj.weight", [F, D], !isFused],
        ["gateUp", "mlp.gate_up_proj.weight", [2 * F, D], isFused],
        ["down", "mlp.down_proj.weight", [D, F]],
        norm("downNorm"),
        ["queryBias", "self_attn.q_proj.bias", [Q], biases.qkv],
        ["keyBias", "self_attn.k_proj.bias", [K], biases.qkv],
        ["valueBias", "self_attn.v_proj.bias", [K], biases.qkv],
        ["outputBias", "self_attn.o_proj.bias", [D], biases.output],
        ["queryNorm", "self_attn.q_norm.weight", [hasWholeNorms ? Q : headDim], hasNorms],
        ["keyNorm", "self_attn.k_norm.weight", [hasWholeNorms ? K : headDim], hasNorms],
        ["gateBias", "mlp.gate_proj.bias", [F], biases.mlp],
        ["upBias", "mlp.up_proj.bias", [F], biases.mlp],
        ["downBias", "mlp.down_proj.bias", [D], biases.mlp],
      ];
      return all.flatMap(([field, name, shape, present = true]) => present ? [[field, name, shape]] : []);
    },
  };
}

const NORMS_BEFORE = { inputNorm: "input_layernorm", mlpNorm: "post_attention_layernorm" };

/** The layout of Llama, which most families have too, with biases and norms of heads where they have any. */
export const LLAMA_LAYOUT = makeLayout({ norms: NORMS_BEFORE });

export const PHI3_LAYOUT = makeLayout({ norms: NORMS_BEFORE, isFused: true });

/** Norms stand behind attention and MLP alone. */
export const OLMO2_LAYOUT = makeLayout({
  norms: { outputNorm: "post_attention_layernorm", downNorm: "post_feedforward_layernorm" },
  hasWholeNorms: true,
});

/** Norms stand before and behind attention and MLP. */
export const GEMMA_LAYOUT = makeLayout({
  norms: {
    inputNorm: "input_layernorm",
    outputNorm: "post_attention_layernorm",
    mlpNorm: "pre_feedforward_layernorm",
    downNorm: "post_feedforward_layernorm",
  },
});
