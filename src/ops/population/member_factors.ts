/**
 * Factors of a population's low-rank perturbations (EGGROLL, arXiv:2511.16652): member i perturbs a weight W [N,K] by
 * sigma E_i, E_i = A_i B_i^T / sqrt(rank), with A [N, rank] and B [K, rank] of independent normals. The factors of all
 * matrices of a layer lie side by side in a row for each member, A transposed to [rank, N] and B to [rank, K].
 */
import type { Tensor } from "@tensorflow/tfjs";

/** Factors of one weight: where they lie in the rows of their layer's tensor. */
export interface MemberFactors {
  /** f32 [members, pitch] */
  tensor: Tensor;
  rank: number;
  /** Where A begins, a multiple of 4. */
  a: number;
  /** Where B begins, a multiple of 4. */
  b: number;
}

/** Where the factors of one matrix lie in a member's row. */
export interface FactorPlace {
  a: number;
  b: number;
}

/** Where a layer's factors lie: those that multiply outputs (A) first, then those that multiply inputs (B). */
export interface FactorLayout {
  places: FactorPlace[];
  /** Values of all A, which come first: their sign is the member's. */
  outputs: number;
  /** Values of a member's row, a multiple of 4. */
  pitch: number;
}

const wholeVec4s = (values: number) => Math.ceil(values / 4) * 4;

/**
 * Places of the factors of matrices [N,K].
 * @throws RangeError when the rank is not a whole number above 0
 */
export function factorLayout(shapes: readonly (readonly number[])[], rank: number): FactorLayout {
  if (!Number.isInteger(rank) || rank < 1) {
    throw new RangeError(`Cannot lay out factors of rank ${rank}: need a whole number of at least 1`);
  }
  let next = 0;
  const take = (values: number) => {
    const begin = next;
    next += wholeVec4s(rank * values);
    return begin;
  };
  const outputs = shapes.map(([N]) => take(N));
  const ofOutputs = next;
  const inputs = shapes.map(([, K]) => take(K));
  return { places: outputs.map((a, i) => ({ a, b: inputs[i] })), outputs: ofOutputs, pitch: next };
}
