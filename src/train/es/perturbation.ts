/** Noise on the trained weights, in place. */
import { readFloats } from "../../gpu/tensors.ts";
import { addNoise, uploadTerms } from "../../ops/noise/add_noise.ts";
import type { Weight } from "../../ops/weight/weight.ts";
import { refreshWeightShift } from "../../ops/weight/weight_shift.ts";
import { type EsNoise, gridOf, type NoiseTerm, type WeightGrid } from "../../rl/es.ts";

export interface Perturbation {
  /** Whether adding the opposite restores every weight to the bit. */
  readonly isUndone: boolean;
  /** theta = theta + sum_n coefficient_n eps(seed_n). */
  add(terms: readonly NoiseTerm[]): void;
  /** The same of a step that stays: weights stop at the ends of their grids. */
  update(terms: readonly NoiseTerm[]): void;
}

/** A trained weight with its noise. */
interface Place {
  weight: Weight;
  stream: number;
  grid: WeightGrid | null;
}

/**
 * Room for noise beyond the limit that weights are held to; a member's weights go there and come back.
 * 2^24 steps is the last value at which a sum is exact.
 */
const beyondLimit = ({ step }: WeightGrid): WeightGrid => ({ step, limit: 2 ** 24 * step });

/** @throws RangeError when values are NaN or infinite */
async function largestOf({ name, tensor }: Weight): Promise<number> {
  let largest = 0;
  for (const value of await readFloats(tensor)) largest = Math.max(largest, Math.abs(value));
  if (Number.isFinite(largest)) return largest;
  throw new RangeError(
    `Cannot perturb ${name}: need finite weights, found NaN or infinity; take another model`,
  );
}

/**
 * Lays the weights on grids, so that noise comes off again to the bit; of the original's noise it leaves them as they
 * are. To be called on the weights that the run begins with, also where it then goes on from others: the grids are
 * theirs.
 * @param weights f32
 * @throws RangeError when one of them is packed, or holds values that are no numbers
 */
export async function perturb(
  weights: readonly Weight[],
  { es_noise, es_sigma }: { es_noise: EsNoise; es_sigma: number },
): Promise<Perturbation> {
  const isOriginal = es_noise === "original";
  const places: Place[] = [];
  for (const [stream, weight] of weights.entries()) {
    if (weight.format !== "f32") {
      throw new RangeError(
        `Cannot perturb ${weight.name}: need float32 weights, whose sums with noise are exact, got ${weight.format}; ` +
          "set dtype=float32",
      );
    }
    const grid = isOriginal ? null : gridOf(await largestOf(weight), es_sigma);
    places.push({ weight, stream: isOriginal ? 0 : stream, grid });
  }
  const apply = (terms: readonly NoiseTerm[], gridFor: (grid: WeightGrid) => WeightGrid) => {
    const uploaded = uploadTerms(terms);
    for (const { weight, stream, grid } of places) {
      addNoise(weight.tensor, uploaded, terms.length, { stream, grid: grid && gridFor(grid) });
      refreshWeightShift(weight);
    }
    uploaded.dispose();
  };
  const update = (terms: readonly NoiseTerm[]) => apply(terms, (grid) => grid);
  if (!isOriginal) update([]);
  return { isUndone: !isOriginal, add: (terms) => apply(terms, beyondLimit), update };
}
