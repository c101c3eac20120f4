/** A long run in one process: what it holds, and what a step takes, stays as it is. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { it } from "node:test";
import { inScratchFolder } from "../e2e/program.ts";
import { countOf, isFull, tellRow } from "./counts.ts";
import { RUNTIMES, startIn } from "./runtimes.ts";

/** What a process holds after a step. */
export interface Held {
  rssBytes: number;
  heapBytes: number;
  gpuBytes: number;
  openFiles: number;
  timers: number;
  /** Of all cores, for the step. */
  cpuMs: number;
}

const STEPS = countOf(120, 1000);
/** A step that takes longer hangs; on two quiet cores it takes a tenth of it. */
const STEP_MS = 2500;
/** Fewer steps are no length for the noise of a shared machine to even out, nor for JavaScript to be compiled. */
const ALLOWED: Record<keyof Held, number> = {
  rssBytes: isFull ? 0.02 : 0.05,
  heapBytes: isFull ? 0.1 : 0.2, // holds the rows of the run by design: about 1 kB a step, of 30 MB
  gpuBytes: 0.02, // the shortest runs still fill the cache of uniforms, 64 bytes each
  openFiles: 0,
  timers: 0,
  cpuMs: isFull ? 0.02 : 0.3,
};

/** How much more the last quarter holds than the third, as a share of that. @param part of each that is below it */
function growthOf(values: readonly number[], part: number): number {
  const quarter = values.length >> 2;
  const below = (some: readonly number[]) => some.toSorted((a, b) => a - b)[Math.floor(part * some.length)];
  const [before, last] = [values.slice(2 * quarter, 3 * quarter), values.slice(3 * quarter)].map(below);
  return before === last ? 0 : last / before - 1;
}

for (const runtime of RUNTIMES) {
  it(`of ${STEPS} steps in ${runtime}, the second half holds and takes no more at its end than at its beginning`, () =>
    inScratchFolder(async (folder) => {
      const program = startIn(runtime, [join(folder, "run"), `${STEPS}`], {
        program: "test/chaos_runs/soak_program.ts",
        further: [runtime === "node" ? "--expose-gc" : "--v8-flags=--expose-gc"],
        deadlineMs: STEPS * STEP_MS,
      });
      const { code, output } = await program.finished;
      assert.equal(code, 0, output);
      const held: Held[] = JSON.parse(output.split("\n").findLast((line) => line.startsWith("[{"))!);
      assert.equal(held.length, STEPS);
      // What else the machine does makes steps slower, and none quicker.
      const growth = (name: keyof Held) =>
        growthOf(held.map((each) => each[name]), name === "cpuMs" ? 0.1 : 0.5);
      const percent = (name: keyof Held) => `${(100 * growth(name)).toFixed(2)} %`;
      for (const [name, allowed] of Object.entries(ALLOWED) as [keyof Held, number][]) {
        assert.ok(growth(name) <= allowed, `${name} grows by ${percent(name)}`);
      }
      tellRow(
        `${STEPS} steps in one process in ${runtime}, with checkpoints and evaluations: memory, GPU memory, open ` +
          "files and timers are flat, and so is what a step takes",
        `third quarter to fourth: memory ${percent("rssBytes")}, GPU memory ${
          percent("gpuBytes")
        }, open files ` +
          `${percent("openFiles")}, timers ${percent("timers")}, CPU time of a step ${percent("cpuMs")}`,
      );
    }));
}
