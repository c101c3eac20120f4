/** Intervals of what has no formula: the sample is drawn again from itself, many times (Efron, 1979). */
import type { Interval } from "./binomial.ts";
import { mulHi, philox4x32, STREAM } from "./rng.ts";

export interface BootstrapOptions {
  seed: number;
  /** How often the sample is drawn again. Default 2000. */
  resamples?: number;
  /** Share of the statistic's values that lie in the interval. Default 0.95. */
  level?: number;
}

/**
 * `count` places of 0 .. count-1, each drawn from all: word i % 4 of the draw with key (seed, round) and counter
 * (floor(i / 4), 0, 0, STREAM.bootstrap), as the high word of its product with count.
 */
function drawAgain(count: number, seed: number, round: number, places: Uint32Array): void {
  for (let i = 0; i < count; i += 4) {
    const words = philox4x32([i / 4, 0, 0, STREAM.bootstrap], [seed, round]);
    for (let w = 0; w < 4 && i + w < count; w++) places[i + w] = mulHi(words[w]!, count);
  }
}

/**
 * The interval between the quantiles (1 - level)/2 and (1 + level)/2 of statistics over samples that are drawn again,
 * each statistic over the same ones.
 * @param count members of the sample
 * @param statistics of the members at the places given, in the order drawn
 * @throws RangeError when the sample has no member
 */
export function bootstrap(
  count: number,
  statistics: (places: Uint32Array) => readonly number[],
  { seed, resamples = 2000, level = 0.95 }: BootstrapOptions,
): Interval[] {
  if (count < 1) throw new RangeError("Cannot draw a sample again: need at least 1 member, got 0");
  const places = new Uint32Array(count);
  const values: Float64Array[] = [];
  for (let round = 0; round < resamples; round++) {
    drawAgain(count, seed, round, places);
    statistics(places).forEach((value, i) => (values[i] ??= new Float64Array(resamples))[round] = value);
  }
  return values.map((list) => {
    list.sort();
    return [quantile(list, (1 - level) / 2), quantile(list, (1 + level) / 2)];
  });
}

/** Intervals of the means of lists of one length, whose members at one place belong together. */
export function bootstrapMeans(lists: readonly ArrayLike<number>[], options: BootstrapOptions): Interval[] {
  const meanAt = (list: ArrayLike<number>, places: Uint32Array) => {
    let sum = 0;
    for (let i = 0; i < places.length; i++) sum += list[places[i]!]!;
    return sum / places.length;
  };
  return bootstrap(lists[0]!.length, (places) => lists.map((list) => meanAt(list, places)), options);
}

/** Between the two values around the place p (n - 1), as numpy's default. @param sorted ascending */
function quantile(sorted: Float64Array, p: number): number {
  const at = p * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!];
  return low + (high - low) * (at - Math.floor(at));
}
