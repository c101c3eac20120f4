import { gridOf, type NoiseTerm } from "../../../src/rl/es.ts";
import { addNoise, addNoiseF64, uploadTerms } from "../../../src/ops/noise/add_noise.ts";
import { type OpCase, uniform } from "../case.ts";

const SEEDS = [1, 0x9e3779b9, 0xffffffff, 123456789];

interface NoiseCase {
  count: number;
  members: number;
  stream?: number;
  sigma?: number;
  isOnGrid?: boolean;
  benchOnly?: boolean;
}

function noiseCase({ count, members, stream = 0, sigma = 0.5, isOnGrid, benchOnly }: NoiseCase): OpCase {
  const terms: NoiseTerm[] = Array.from({ length: members }, (_, n) => ({
    seed: (SEEDS[n % SEEDS.length] + Math.floor(n / SEEDS.length)) >>> 0,
    coefficient: Math.fround(sigma * (n % 2 === 0 ? 1 : -0.75)),
  }));
  const options = { stream, grid: isOnGrid ? gridOf(1, sigma) : null };
  return {
    name: `add_noise ${count} of ${members} at ${stream}${isOnGrid ? " on a grid" : ""}`,
    inputs: { weight: uniform(1, [count]) },
    run: ({ tensors: { weight } }) => {
      const uploaded = uploadTerms(terms);
      addNoise(weight, uploaded, terms.length, options);
      uploaded.dispose();
      return [weight.clone()];
    },
    twin: ({ weight }) => [addNoiseF64(weight, terms, options)],
    tolerance: isOnGrid ? 5e-5 : 2e-6,
    toleranceReason: isOnGrid
      ? "where f32's noise and f64's lie on both sides of half a step of the grid they are a step apart"
      : "f32 polynomials of ln, sin and cos, and sums",
    benchOnly,
    bench: { bytes: 2 * 4 * count },
  };
}

export const cases: OpCase[] = [
  noiseCase({ count: 1, members: 1 }),
  noiseCase({ count: 63, members: 2, stream: 3 }),
  noiseCase({ count: 1156, members: 3, stream: 1 }),
  noiseCase({ count: 515, members: 5, stream: 2, sigma: 1e-3, isOnGrid: true }),
  noiseCase({ count: 3072, members: 4, stream: 290, isOnGrid: true }),
  noiseCase({ count: 68, members: 0, isOnGrid: true }),
  noiseCase({ count: 4_194_304, members: 1, benchOnly: true }),
  noiseCase({ count: 1_048_576, members: 30, isOnGrid: true, benchOnly: true }),
];
