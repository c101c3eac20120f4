/** A transformer on the GPU, and what it runs on: types that transformer.ts, decoding, scoring and training share. */
import type { Tensor } from "@tensorflow/tfjs";
import type { AttentionShape, PrefixKeys, PrefixRows } from "../ops/attention/attention.ts";
import type { RopeTable } from "../ops/attention/rope.ts";
import type { MemberFactors } from "../ops/population/member_factors.ts";
import type { Weight } from "../ops/weight/weight.ts";
import type { AdapterConfig } from "./adapter_config.ts";
import type { ModelConfig } from "./families/family.ts";
import type { PolicyWeights, TrunkWeights } from "./weights.ts";

/** What is added beside one weight. */
export interface Adapter {
  /** [rank, in] */
  a: Weight;
  /** [out, rank] */
  b: Weight;
  scale: number;
}

/** The adapters of a trunk. */
export interface AdapterSet {
  config: AdapterConfig;
  /** Names of the adapted modules ("q_proj"), each in every layer. */
  modules: readonly string[];
  /** Made for this run: the policy that starts is its base. */
  isFresh: boolean;
  byWeight: ReadonlyMap<Weight, Adapter>;
}

/** Low-rank perturbations of a population's members, as the layers read them (population.ts). */
export interface Perturbations {
  byWeight: ReadonlyMap<Weight, MemberFactors>;
  /** Members that have factors: 0 to before this. */
  size: number;
}

/** Rotates queries and keys, and attends. q_NH, k_NK, v_NK (not rotated yet) -> context_NH */
export type Attend = (layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

/** How a layer attends, on the GPU. */
export interface LayerAttention {
  /** Layers with the same rope have the same tensors. */
  rope: RopeTable;
  shape: AttentionShape;
}

/** A transformer trunk with what its ops need beside the weights. */
export interface Trunk {
  config: ModelConfig;
  weights: TrunkWeights;
  /** Trained beside frozen weights. */
  adapters?: AdapterSet;
  /** Perturb each row of a pass as its member has it; never differentiated. */
  perturbed?: Pick<Perturbations, "byWeight"> & {
    /** i32 [rows]: the member of each row, -1 = none */
    members: Tensor;
  };
  /** One of each layer. */
  layers: readonly LayerAttention[];
  /** That the layers' rope tables hold: as many as a sequence may have tokens. */
  positions: number;
  /** What embeddings are multiplied by. */
  embeddingScale: number;
  /** Root of the tape; see ops/rows/embedding.ts. */
  root: Tensor;
  /** Keep of each layer its input alone, and run it again in backward. */
  recomputesLayers?: boolean;
  /** Recorded backward passes are marked where a layer's gradients are complete, by the layer's number. */
  marksLayers?: boolean;
}

export interface Policy extends Trunk {
  weights: PolicyWeights;
}

/** Tokens on the GPU. */
export interface TokenTensors {
  /** i32 [N] */
  ids: Tensor;
  /** i32 [N] */
  positions: Tensor;
}

/** Packed sequences on the GPU; dispose with tf.dispose. */
export interface SequenceTensors extends TokenTensors {
  /** i32 [N,2] */
  bounds: Tensor;
  /** Beginnings that the sequences go on from; see shared_prefix.ts. */
  prefix?: PrefixRows & { keys: readonly PrefixKeys[] };
}

/** Rows whose hidden state is used, as tensors of `gatherRows`. */
export interface PickedRows {
  /** i32 [M], -1 = spare */
  rows: Tensor;
  /** i32 [N] */
  inverse: Tensor;
}
