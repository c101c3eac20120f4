/** Wall clock of a whole phase, and how much of it was JavaScript. */
import { settle } from "../src/gpu/queue.ts";
import { waitedSeconds } from "../src/gpu/device.ts";
import { summarize, type Timing } from "./measure.ts";

export interface PhaseTiming extends Timing {
  /** Seconds of a run in which this process did not wait for the GPU. */
  jsSeconds: number;
}

/** Runs `body` until the GPU is done with it. @returns seconds by the wall clock, and those spent in JavaScript */
async function once(body: () => unknown): Promise<{ seconds: number; jsSeconds: number }> {
  await settle();
  const [begin, waited] = [performance.now(), waitedSeconds()];
  await body();
  await settle();
  const seconds = (performance.now() - begin) / 1000;
  return { seconds, jsSeconds: seconds - (waitedSeconds() - waited) };
}

/** One run to warm up, then `repeats` of them, fewer where they take more than `budgetSeconds`. */
export async function timePhase(
  body: () => unknown,
  repeats: number,
  budgetSeconds: number,
): Promise<PhaseTiming> {
  await once(body);
  const runs = [];
  let spent = 0;
  do {
    const run = await once(body);
    runs.push(run);
    spent += run.seconds;
  } while (runs.length < repeats && spent < budgetSeconds);
  const timing = summarize(runs.map(({ seconds }) => seconds), 1);
  const jsSeconds = runs.reduce((sum, run) => sum + run.jsSeconds, 0) / runs.length;
  return { ...timing, jsSeconds };
}
