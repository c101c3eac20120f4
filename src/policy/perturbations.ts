/**
 * Low-rank perturbations of a policy for each member of a population (EGGROLL, arXiv:2511.16652): of every matrix of
 * every layer, W + c A B^T. Embeddings, head, norms and biases are left as they are. The weights are only read: what
 * differs between members lies in their factors, which are made from their seeds and take rank (N + K) values of a
 * matrix [N,K] each.
 */
import type { Tensor } from "@tensorflow/tfjs";
import { bindingLimit } from "../gpu/device_facts.ts";
import { emptyTensor } from "../gpu/tensors.ts";
import { uploadTerms } from "../ops/noise/add_noise.ts";
import {
  type FactorLayout,
  factorLayout,
  makeFactors,
  type MemberFactors,
} from "../ops/population/member_factors.ts";
import { memberUpdate } from "../ops/population/member_update.ts";
import type { Weight } from "../ops/weight/weight.ts";
import type { NoiseTerm } from "../rl/es.ts";
import type { Perturbations } from "./trunk.ts";
import type { TrunkWeights } from "./weights.ts";

/** The matrices of a layer, and where their factors lie. */
interface PerturbedLayer {
  weights: readonly Weight[];
  layout: FactorLayout;
}

export interface MemberPerturbations extends Perturbations {
  /**
   * Makes the factors of members 0, 1 ...: of W + coefficient A B^T / sqrt(rank).
   * @throws RangeError when there are more than `size`
   */
  make(terms: readonly NoiseTerm[]): void;
  dispose(): void;
}

/** Matrices of each layer: their biases and norms have one dimension. */
function perturbedLayers({ layers }: TrunkWeights, rank: number): PerturbedLayer[] {
  return layers.map((layer) => {
    const weights = (Object.values(layer) as Weight[]).filter(({ shape }) => shape.length === 2);
    return { weights, layout: factorLayout(weights.map(({ shape }) => shape), rank) };
  });
}

/** Bytes of a member's factors, of all layers together and of the largest. */
export function factorBytes(weights: TrunkWeights, rank: number): { all: number; largest: number } {
  const bytes = perturbedLayers(weights, rank).map(({ layout }) => 4 * layout.pitch);
  return { all: bytes.reduce((sum, each) => sum + each, 0), largest: Math.max(...bytes) };
}

/** @throws RangeError when a layer's factors are more than one binding takes */
function assertBound({ layout: { pitch } }: PerturbedLayer, members: number, remedy: string): void {
  const [bytes, limit] = [4 * pitch * members, bindingLimit()];
  if (bytes <= limit) return;
  throw new RangeError(
    `Cannot hold the factors of ${members} members: ${bytes} bytes of a layer, this GPU binds ${limit}; ${remedy}`,
  );
}

/** Of a layer with the factors in `tensor`. */
function factorsOf({ weights, layout }: PerturbedLayer, tensor: Tensor, rank: number) {
  return weights.map((weight, i): [Weight, MemberFactors] => [weight, { tensor, rank, ...layout.places[i] }]);
}

/** As A carries them: coefficient / sqrt(rank), so that the entries of A B^T / sqrt(rank) have variance 1. */
const scaledTerms = (terms: readonly NoiseTerm[], rank: number) =>
  uploadTerms(terms.map(({ seed, coefficient }) => ({ seed, coefficient: coefficient / Math.sqrt(rank) })));

/**
 * Room for the factors of `size` members at a time.
 * @throws RangeError when a layer's are more than one binding takes, or the rank is below 1
 */
export function createPerturbations(weights: TrunkWeights, rank: number, size: number): MemberPerturbations {
  const layers = perturbedLayers(weights, rank);
  layers.forEach((layer) => assertBound(layer, size, "set a smaller es_members_at_once or es_rank"));
  const tensors = layers.map(({ layout: { pitch } }) => emptyTensor([size, pitch]));
  return {
    size,
    byWeight: new Map(layers.flatMap((layer, l) => factorsOf(layer, tensors[l], rank))),
    make(terms) {
      const uploaded = scaledTerms(terms, rank);
      layers.forEach(({ layout }, l) => makeFactors(tensors[l], uploaded, layout, l));
      uploaded.dispose();
    },
    dispose: () => tensors.forEach((tensor) => tensor.dispose()),
  };
}

/**
 * W += sum_n coefficient_n A_n B_n^T / sqrt(rank) of every matrix of every layer, one pass over each; the factors of a
 * layer are made for it, and freed. The bits depend on the terms and their order alone.
 * @throws RangeError when weights are not f32, or a layer's factors are more than one binding takes
 */
export function moveByPerturbations(weights: TrunkWeights, terms: readonly NoiseTerm[], rank: number): void {
  if (terms.length === 0) return;
  const uploaded = scaledTerms(terms, rank);
  for (const [l, layer] of perturbedLayers(weights, rank).entries()) {
    assertBound(layer, terms.length, "set a smaller es_population_size or es_rank");
    const tensor = emptyTensor([terms.length, layer.layout.pitch]);
    makeFactors(tensor, uploaded, layer.layout, l);
    factorsOf(layer, tensor, rank).forEach(([weight, factors]) => memberUpdate(weight, factors));
    tensor.dispose();
  }
  uploaded.dispose();
}
