/**
 * Evolution strategies (Salimans et al., arXiv:1703.03864), pure: who the members are, how fit, and what becomes of it.
 *
 *   f_n   = mean(R) - lambda mean(C) of member n over the iteration's prompts
 *   z_n   = (f_n - mean(f)) / (std(f) + 1e-8)         population standard deviation
 *   theta = theta + (alpha / N) sum_n z_n sign_n eps(seed_n)
 */
import { philox4x32, STREAM } from "./rng.ts";
import { deviationOf, meanOf } from "./spread.ts";

export const ES_NOISES = ["iid", "antithetic", "original"] as const;
export type EsNoise = (typeof ES_NOISES)[number];

/** The config keys that say who the members are. */
interface MembersConfig {
  seed: number;
  es_population_size: number;
  es_noise: EsNoise;
}

/** A perturbed policy: theta + sign sigma eps(seed). */
export interface Member {
  /** Of its noise, u32. */
  seed: number;
  sign: 1 | -1;
}

/**
 * The members of an iteration, the same on every rank. Seed n is the first word of Philox with key (seed, iteration)
 * and counter (n, 0, 0, STREAM.member); of antithetic noise n counts pairs.
 * @param iteration from 1
 */
export function membersOf(
  iteration: number,
  { seed, es_population_size, es_noise }: MembersConfig,
): Member[] {
  const isPaired = es_noise === "antithetic";
  return Array.from({ length: es_population_size }, (_, n) => {
    const [word] = philox4x32([isPaired ? n >> 1 : n, 0, 0, STREAM.member], [seed, iteration]);
    return { seed: word, sign: isPaired && n % 2 === 1 ? -1 : 1 };
  });
}

/** The config keys that a member's fitness depends on. */
export interface FitnessConfig {
  es_standardize_within_batch: boolean;
  es_safe_first: boolean;
  es_safe_first_factor: number;
}

/** Added to standard deviations, as in the original. */
const EPSILON = 1e-8;

/**
 * f = mean(R) - lambda mean(C) over a member's completions. With `es_safe_first` R counts `es_safe_first_factor` times
 * where C > 0; with `es_standardize_within_batch` each mean is divided by std + 1e-8 over the completions.
 * @param weighed what lambda weighs of the costs, as `weighedCosts`; the costs themselves unless given
 * @throws RangeError when the lists differ in length, or are empty
 */
export function fitnessOf(
  rewards: readonly number[],
  costs: readonly number[],
  lambda: number,
  config: FitnessConfig,
  weighed: readonly number[] = costs,
): number {
  if (rewards.length !== costs.length || rewards.length === 0) {
    throw new RangeError(
      `Cannot tell a member's fitness: need as many costs as rewards, and at least one, got ${costs.length} and ` +
        `${rewards.length}`,
    );
  }
  const counted = config.es_safe_first
    ? rewards.map((reward, i) => costs[i] > 0 ? config.es_safe_first_factor * reward : reward)
    : rewards;
  const scaled = (values: readonly number[]) =>
    config.es_standardize_within_batch ? meanOf(values) / (deviationOf(values) + EPSILON) : meanOf(values);
  return scaled(counted) - lambda * scaled(weighed);
}

/** Noise of a seed, and how much of it is added to the weights. */
export interface NoiseTerm {
  seed: number;
  coefficient: number;
}

/**
 * What an update adds: (alpha / N) z_n sign_n of each member's noise, as f32, which is what the GPU adds. Members that
 * share a seed (antithetic pairs) make one term. Null where a fitness is NaN or infinite: then nobody can be told from
 * the others, and the iteration moves nothing.
 * @param fitness of each member
 */
export function updateTerms(
  members: readonly Member[],
  fitness: readonly number[],
  alpha: number,
): NoiseTerm[] | null {
  if (members.length !== fitness.length) {
    throw new RangeError(
      `Cannot weigh members: need a fitness for each of ${members.length}, got ${fitness.length}`,
    );
  }
  if (!fitness.every(Number.isFinite)) return null;
  const mean = meanOf(fitness);
  const divisor = deviationOf(fitness) + EPSILON;
  const bySeed = new Map<number, number>();
  members.forEach(({ seed, sign }, n) => {
    const term = alpha / members.length * (fitness[n] - mean) / divisor * sign;
    bySeed.set(seed, (bySeed.get(seed) ?? 0) + term);
  });
  return [...bySeed].map(([seed, coefficient]) => ({ seed, coefficient: Math.fround(coefficient) }));
}

/**
 * Steps of weights that are perturbed in place and restored to the bit: values are kept at whole multiples of `step`, a
 * power of two, and so small that f32 sums of them with noise, likewise rounded, are exact (below 2^24 steps).
 */
export interface WeightGrid {
  step: number;
  /** Weights stay within +-limit. */
  limit: number;
}

/** The largest |eps|: radii come from 24 bits, sqrt(2 ln 2^24) = 5.768. */
export const LARGEST_NOISE = 5.77;

/** How far weights may grow: four times their largest value at the start, and a thousand times the noise. */
const ROOM = { weights: 4, noise: 1024 };

/**
 * The grid of a tensor: 2^24 steps reach over four times its largest value and 1024 sigma. So noise of deviation sigma
 * is rounded to less than 2^-13 of it where |w| <= 256 sigma, and laying the weights on the grid moves each by half a
 * step at the most.
 * @param largest |w| at the start of the run
 */
export function gridOf(largest: number, sigma: number): WeightGrid {
  const reach = ROOM.weights * largest + ROOM.noise * sigma;
  const step = 2 ** (Math.ceil(Math.log2(reach)) - 24);
  const limit = (2 ** 24 - Math.ceil(LARGEST_NOISE * sigma / step) - 1) * step;
  return { step, limit };
}
