/**
 * Factors of a population's low-rank perturbations (EGGROLL, arXiv:2511.16652): member i perturbs a weight W [N,K] by
 * c_i A_i B_i^T, with A [N, rank] and B [K, rank] of independent standard normals. The factors of all matrices of a
 * layer lie side by side in a row for each member, c A transposed to [rank, N] and B to [rank, K]. They are made from
 * counters, so that a seed stands for them.
 */
import type { Tensor } from "@tensorflow/tfjs";
import { hasNarrowSubgroups } from "../../gpu/device_facts.ts";
import { runKernel } from "../../gpu/dispatch.ts";
import { foldGrid } from "../../gpu/grids.ts";
import type { NoiseTerm } from "../../rl/es.ts";
import { normalNoise } from "../../rl/rng.ts";

/** vec4s of a member that a workgroup makes. */
const SPAN = 256;

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

/**
 * Makes the factors of one layer, of as many members as there are terms, in place.
 * @param factors f32 [members or more, layout.pitch]
 * @param terms i32 [members, 2] of `uploadTerms`: seeds, and what A is multiplied by
 * @param layer tells layers apart, whose noise is each its own
 * @throws RangeError when there are more terms than members
 */
export function makeFactors(factors: Tensor, terms: Tensor, layout: FactorLayout, layer: number): void {
  const [members] = terms.shape;
  if (members > factors.shape[0]) {
    throw new RangeError(`Cannot make factors of ${members} members: there is room for ${factors.shape[0]}`);
  }
  const pitch = layout.pitch / 4;
  runKernel({
    kernel: "member_factors",
    constants: { WG: hasNarrowSubgroups() ? 8 : 64, SPAN },
    bindings: { terms, factors },
    params: { members, pitch, outputs: layout.outputs / 4, layer },
    workgroups: foldGrid(members * Math.ceil(pitch / SPAN)),
  });
}

/** Twin of member_factors.wgsl in f64. @returns [terms, pitch] */
export function memberFactorsF64(
  terms: readonly NoiseTerm[],
  { pitch, outputs }: FactorLayout,
  layer: number,
): Float64Array {
  return Float64Array.from({ length: terms.length * pitch }, (_, i) => {
    const [{ seed, coefficient }, e] = [terms[Math.floor(i / pitch)], i % pitch];
    return (e < outputs ? coefficient : 1) * normalNoise(seed, layer, e);
  });
}
