/** Noise on a weight, made on the GPU from counters and never stored (kernels/noise/add_noise.wgsl). */
import type { Tensor } from "@tensorflow/tfjs";
import { runKernel } from "../../gpu/dispatch.ts";
import { flatGrid } from "../../gpu/grids.ts";
import { uploadTensor } from "../../gpu/tensors.ts";
import { bindWindow, windowsOf } from "../../gpu/windows.ts";
import type { NoiseTerm, WeightGrid } from "../../rl/es.ts";
import { normalNoise } from "../../rl/rng.ts";

export interface NoiseOptions {
  /** Tells tensors apart that have noise of their own. */
  stream: number;
  /** What values are rounded to; null: to nothing but f32. */
  grid: WeightGrid | null;
}

/** Terms as the kernel reads them, i32 [terms, 2]: seed, and the bits of the coefficient. */
export function uploadTerms(terms: readonly NoiseTerm[]): Tensor {
  const words = new Int32Array(2 * Math.max(1, terms.length)); // a binding holds at least one
  const floats = new Float32Array(words.buffer);
  terms.forEach(({ seed, coefficient }, n) => {
    words[2 * n] = seed;
    floats[2 * n + 1] = coefficient;
  });
  return uploadTensor(words, [words.length / 2, 2]);
}

/**
 * weight = weight + sum_n coefficient_n eps(seed_n), in place; both rounded to the grid first, and the sum kept within
 * its limit.
 * @param weight f32 of any shape
 * @param terms of `uploadTerms`
 * @param count terms that are added, the first ones; 0: the weight is laid on its grid
 */
export function addNoise(weight: Tensor, terms: Tensor, count: number, { stream, grid }: NoiseOptions): void {
  for (const window of windowsOf(weight.size, 4)) {
    const { count: items, ...shape } = flatGrid(window.count);
    runKernel({
      kernel: "add_noise",
      ...shape,
      bindings: { weight: bindWindow(weight, 4, window), terms },
      params: {
        count: items,
        first: window.first * items / window.count,
        terms: count,
        stream,
        grid: grid?.step ?? 0,
        per_grid: grid ? 1 / grid.step : 0,
        limit: grid?.limit ?? 3.4e38, // nothing that is finite is beyond it
      },
    });
  }
}

/** Twin of add_noise.wgsl: returns new values. */
export function addNoiseF64(
  values: ArrayLike<number>,
  terms: readonly NoiseTerm[],
  { stream, grid }: NoiseOptions,
): Float64Array {
  const snap = (value: number) => grid ? roundHalfToEven(value / grid.step) * grid.step : value;
  const { limit } = grid ?? { limit: Infinity };
  return Float64Array.from(values, (value, e) => {
    const noise = terms.reduce(
      (sum, { seed, coefficient }) => sum + coefficient * normalNoise(seed, stream, e),
      0,
    );
    return Math.min(Math.max(snap(value) + snap(noise), -limit), limit);
  });
}

/** As WGSL's round. */
function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
