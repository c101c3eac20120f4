/**
 * What a model family is to this program. The transformer itself is said once (llama.ts); a family says how its
 * config.json is read, what of it is refused, and which parameters its files hold under which names.
 */
import type { RopeScaling } from "../../ops/attention/rope_table.ts";
import type { Biases, LayerSizes, Layout } from "./layout.ts";

/** config.json, parsed. */
export type Json = Readonly<Record<string, unknown>>;

/** config.json of a model, checked. */
export interface ModelConfig extends LayerSizes {
  /** Names of the model's parameters in its files. */
  layout: Layout;
  layers: number;
  vocabSize: number;
  /** Longest sequence, in tokens. Where attention slides, its window: up to there it is full attention. */
  maxPositions: number;
  rmsNormEps: number;
  ropeTheta: number;
  ropeScaling: RopeScaling | undefined;
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
  };
  biases(json: Json): Biases;
  headNorms: boolean;
  /**
   * Positions, of those that the model has, up to which every layer is full causal attention (sliding_window.ts).
   * @throws TypeError when that is not known
   */
  fullPositions(json: Json, positions: number, path: string): number;
  layout: Layout;
}
