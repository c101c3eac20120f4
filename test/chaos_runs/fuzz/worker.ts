/** Reads mutants of one format after the other, in a thread that may be ended when it hangs. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parentPort } from "node:worker_threads";
import { randomOf } from "../../chaos/hostile_pickles.ts";
import { FORMATS } from "./formats.ts";
import { outcomeOf } from "./judge.ts";
import { mutantOf } from "./mutants.ts";

/** What the thread is asked. */
export interface Task {
  format: string;
  dir: string;
  seed: number;
  /** The first mutant and the one behind the last. */
  from: number;
  to: number;
  /** The number of the mutant that is being read. */
  at: SharedArrayBuffer;
}

export type Report =
  | { complaint: string; index: number }
  | { refused: number; read: number; heldBytes: number };

async function work({ format: name, dir, seed, from, to, at }: Task): Promise<void> {
  const format = FORMATS.find((one) => one.name === name)!;
  const index = new Int32Array(at);
  mkdirSync(dir, { recursive: true });
  await format.prepare?.(dir);
  const seeds = format.seeds(dir);
  let [refused, heldBytes] = [0, 0];
  for (let i = from; i < to; i++) {
    Atomics.store(index, 0, i);
    // The first ones are the seeds themselves.
    const bytes = seeds[i] ?? mutantOf(seeds, format.shape, randomOf(seed + i));
    writeFileSync(join(dir, format.file), bytes);
    const outcome = await outcomeOf(format, dir);
    heldBytes = Math.max(heldBytes, outcome.heldBytes);
    if (outcome.isRefused) refused++;
    if (outcome.complaint !== null) {
      parentPort!.postMessage({ complaint: outcome.complaint, index: i } satisfies Report);
    }
  }
  parentPort!.postMessage({ refused, read: to - from, heldBytes } satisfies Report);
}

parentPort!.on("message", (task: Task) => void work(task));
