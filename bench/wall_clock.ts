/** The wall clock of whole passes: until the GPU is done, several works in turn, and how much of it was JavaScript. */
import { waitedSeconds } from "../src/gpu/device.ts";
import { settle } from "../src/gpu/queue.ts";
import { summarize, type Timing } from "./measure.ts";

/** Seconds from an idle GPU until `run` is done, which waits for the GPU itself. */
export async function secondsOf(run: () => unknown): Promise<number> {
  await settle();
  const begin = performance.now();
  await run();
  return (performance.now() - begin) / 1000;
}

/**
 * Takes samples of all works in turn, so that a slow minute of the machine is shared by all.
 * @returns the samples of each work, `rounds` of them
 */
export async function inTurn<Work>(
  works: readonly Work[],
  rounds: number,
  sample: (work: Work, round: number) => Promise<number>,
): Promise<number[][]> {
  const samples = works.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [w, work] of works.entries()) samples[w].push(await sample(work, round));
  }
  return samples;
}

export interface PhaseTiming extends Timing {
  /** Seconds of a run in which this process did not wait for the GPU. */
  jsSeconds: number;
}

/** One run to warm up, then `repeats` of them, fewer where they take more than `budgetSeconds`. */
export async function timePhase(
  body: () => unknown,
  { repeats, budgetSeconds }: { repeats: number; budgetSeconds: number },
): Promise<PhaseTiming> {
  let waited = 0;
  const once = () =>
    secondsOf(async () => {
      waited = waitedSeconds();
      await body();
      await settle();
      waited = waitedSeconds() - waited;
    });
  await once();
  const samples: number[] = [];
  let [spent, waiting] = [0, 0];
  do {
    const seconds = await once();
    samples.push(seconds);
    spent += seconds;
    waiting += waited;
  } while (samples.length < repeats && spent < budgetSeconds);
  return { ...summarize(samples, 1), jsSeconds: (spent - waiting) / samples.length };
}
