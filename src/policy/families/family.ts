/**
 * What a model family is to this program. The transformer itself is said once (transformer.ts); a family says how its
 * config.json is read, what of it is refused, which parameters its files hold under which names, and what it computes
 * otherwise than Llama.
 */
import type { RopeScaling } from "../../ops/attention/rope_table.ts";
import type { Biases, LayerSizes, Layout } from "./layout.ts";

/** config.json, parsed. */
export type Json = Readonly<Record<string, unknown>>;

/** Of the gated MLP: silu, or the tanh form of GELU. */
export type Activation = "silu" | "gelu_tanh";

/** What families compute differently. */
export interface Arithmetic {
  activation: Activation;
  /** Norms multiply by 1 + weight (Gemma). */
  unitOffsetNorms: boolean;
  /** What embeddings are multiplied by. */
  embeddingScale: number;
  /** The scale of embeddings is rounded to the format that these are held in (Gemma), as transformers does. */
  roundsEmbeddingScale: boolean;
  /** What attention and MLP are multiplied by before they are added to the residual stream. */
  residualScale: number;
  /** What products of queries and keys are multiplied by; null: headDim^-0.5. */
  attentionScale: number | null;
  /** Scores s of attention become cap tanh(s / cap); null: they stay. */
  attentionSoftcap: number | null;
  /** What logits are divided by. */
  logitsDivisor: number;
  /** Logits x become cap tanh(x / cap); null: they stay. */
  logitsSoftcap: number | null;
}

/** How a layer attends. */
export interface LayerKind {
  /** Tokens that a token sees, itself the last of them; null: all before it. */
  window: number | null;
  /** Which rope turns its queries and keys; null: none does (NoPE, arXiv:2305.19466). */
  rope: "global" | "local" | null;
}

/** The base of a rope, and how it is scaled. */
export interface RopeSettings {
  theta: number;
  scaling: RopeScaling | undefined;
}

/** config.json of a model, checked. */
export interface ModelConfig extends LayerSizes, Arithmetic {
  /** Names of the model's parameters in its files. */
  layout: Layout;
  layers: number;
  /** One of each layer. */
  layerKinds: readonly LayerKind[];
  vocabSize: number;
  /** Longest sequence, in tokens. */
  maxPositions: number;
  rmsNormEps: number;
  ropeTheta: number;
  ropeScaling: RopeScaling | undefined;
  /** Values of a head that the rope turns: the first ones. */
  rotatedDim: number;
  /** Of layers with a rope of their own (Gemma 3's sliding ones). */
  localRope: RopeSettings | null;
  tiedEmbeddings: boolean;
  eosIds: number[];
}

export interface Family {
  /** `model_type` of its config.json. */
  modelType: string;
  /** What it takes for keys that config.json leaves out, as in transformers. */
  defaults: {
    /** Key heads; null: as many as query heads. */
    kvHeads: number | null;
    /** null: hidden_size / num_attention_heads. */
    headDim: number | null;
    maxPositions: number;
    /** 1e-6 unless given. */
    rmsNormEps?: number;
    /** 10000 unless given. */
    ropeTheta?: number;
    /** false unless given. */
    tiedEmbeddings?: boolean;
    /** Needed in config.json unless given. */
    heads?: number;
    /** Needed in config.json unless given. */
    vocabSize?: number;
  };
  biases(json: Json): Biases;
  headNorms: boolean;
  /** config.json may say that a part of each head is rotated (Phi-3); in others that is refused. */
  isPartlyRotated?: boolean;
  /**
   * How each of the layers attends.
   * @throws TypeError when that is not known
   */
  layerKinds(json: Json, layers: number, path: string): LayerKind[];
  /**
   * What it computes otherwise than Llama; nothing unless given.
   * @throws TypeError when that is not known
   */
  arithmetic?(json: Json, path: string): Partial<Arithmetic>;
  /**
   * The keys that say the rope of all layers, and that of local ones, each as a Llama has them.
   * @throws TypeError when they are not in a known form
   */
  ropesOf?(json: Json, path: string): { global: Json; local: Json };
  layout: Layout;
}
