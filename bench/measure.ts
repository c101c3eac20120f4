/** Repeated timing: how often to run, and what the samples say. */

export interface MeasureOptions {
  /** Samples wanted. */
  repeats: number;
  /** A sample runs the work as often as fills this time. */
  sampleSeconds: number;
  /** No further sample begins after this time; one is always taken. */
  budgetSeconds: number;
  /** Set when the same work has run already: no warm-up. */
  isWarm?: boolean;
}

export interface Timing {
  /** Median seconds of one run. */
  seconds: number;
  /** Seconds of one run in the fastest sample. */
  fastestSeconds: number;
  /** Half the interquartile range over the median; null for fewer than three samples. */
  spread: number | null;
  samples: number;
  runsPerSample: number;
}

const MAX_RUNS_PER_SAMPLE = 1000;
/** Several times what a CPU device takes to compile the kernels of one op. */
const LONG_SECONDS = 10;

/** The value below which a share `q` of the values lies, interpolated between neighbours. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) throw new RangeError("Cannot take a quantile of no values: need at least one");
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * q;
  const low = Math.floor(place);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - low);
}

/** Median and spread of samples that each took `runsPerSample` runs. @param samples seconds of each sample */
export function summarize(samples: readonly number[], runsPerSample: number): Timing {
  const median = quantile(samples, 0.5);
  const spread = samples.length < 3 ? null : (quantile(samples, 0.75) - quantile(samples, 0.25)) / 2 / median;
  const fastestSeconds = Math.min(...samples) / runsPerSample;
  return { seconds: median / runsPerSample, fastestSeconds, spread, samples: samples.length, runsPerSample };
}

/**
 * Warms up with one run, finds by one or two more how many fill a sample, then takes samples.
 * A warm-up of `LONG_SECONDS` is the one sample: what it does besides, compiling and uploading, is a small part of it.
 * @param work runs `times` times and returns the seconds of all of them
 */
export async function measure(
  work: (times: number) => Promise<number>,
  options: MeasureOptions,
): Promise<Timing> {
  const { repeats, sampleSeconds, budgetSeconds } = options;
  const warmUp = options.isWarm ? 0 : await work(1);
  if (warmUp >= LONG_SECONDS) return summarize([warmUp], 1);
  // Two runs, since a garbage collection may fall into one.
  const singles = [await work(1)];
  if (singles[0] < budgetSeconds) singles.push(await work(1));
  const fill = Math.ceil(sampleSeconds / Math.max(Math.min(...singles), 1e-9));
  const runs = Math.max(1, Math.min(MAX_RUNS_PER_SAMPLE, fill));
  // With one run to a sample the runs that found this are samples themselves.
  const samples = runs === 1 ? singles : [];
  let spent = singles.reduce((sum, seconds) => sum + seconds, 0);
  while (samples.length < repeats && (samples.length === 0 || spent < budgetSeconds)) {
    const seconds = await work(runs);
    samples.push(seconds);
    spent += seconds;
  }
  return summarize(samples, runs);
}
