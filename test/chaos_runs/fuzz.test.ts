/**
 * Files of every kind that is read, broken by a seed: each is read, or refused by an error that names it. None crashes
 * the program, hangs it, or fills its memory. CHAOS_FULL=1 tries 10,000 of each kind, FUZZ_ONLY a kind by its name.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Worker } from "node:worker_threads";
import { countOf, tellRow } from "./counts.ts";
import { FORMATS } from "./fuzz/formats.ts";
import type { Report, Task } from "./fuzz/worker.ts";

const SEED = 20250701;
const COUNT = Number(process.env.FUZZ_COUNT) || countOf(150, 10_000);
/** For one mutant, on a machine that does other things too. */
const HANG_MS = 20_000;
const POLL_MS = 250;
/** Complaints that are shown of a format. */
const SHOWN = 8;

interface Tally {
  refused: number;
  heldBytes: number;
  hangs: number[];
  complaints: string[];
}

const folder = mkdtempSync(join(tmpdir(), "grpo-webgpu-fuzz-"));
after(() => rmSync(folder, { recursive: true, force: true }));

let thread: Worker | undefined;
after(() => thread?.terminate());

/** One thread reads all formats, until it hangs. */
const threadOf = () => thread ??= new Worker(new URL("./fuzz/thread.mjs", import.meta.url));

/** Reads the mutants from `from` on. @returns the one that it hung at; null where it came to the end */
function readMutants(task: Task, tally: Tally): Promise<number | null> {
  const index = new Int32Array(task.at);
  const worker = threadOf();
  return new Promise((resolve, reject) => {
    let [last, sinceMs] = [-1, performance.now()];
    const watch = setInterval(() => {
      const at = Atomics.load(index, 0);
      if (at !== last) [last, sinceMs] = [at, performance.now()];
      if (performance.now() - sinceMs < HANG_MS) return;
      end(() => resolve(at));
      thread = undefined;
      void worker.terminate();
    }, POLL_MS);
    const onMessage = (report: Report) => {
      if ("complaint" in report) {
        return void tally.complaints.push(`mutant ${report.index}: ${report.complaint}`);
      }
      tally.refused += report.refused;
      tally.heldBytes = Math.max(tally.heldBytes, report.heldBytes);
      end(() => resolve(null));
    };
    // What is thrown where nobody waits for it would have ended the program.
    const onError = (error: Error) => {
      thread = undefined;
      end(() => reject(new Error(`mutant ${Atomics.load(index, 0)}: ${error.stack}`, { cause: error })));
    };
    const end = (settle: () => void) => {
      clearInterval(watch);
      worker.off("message", onMessage).off("error", onError);
      settle();
    };
    worker.on("message", onMessage).on("error", onError).postMessage(task);
  });
}

for (const [number, { name }] of FORMATS.entries()) {
  if (process.env.FUZZ_ONLY && !name.includes(process.env.FUZZ_ONLY)) continue;
  test(`${COUNT} broken files of ${name}: none crashes, hangs, fills the memory or is refused without its name`, async () => {
    const tally: Tally = { refused: 0, heldBytes: 0, hangs: [], complaints: [] };
    for (let from = 0; from < COUNT;) {
      const dir = join(folder, `${number}-${from}`);
      const at = new SharedArrayBuffer(4);
      const hung = await readMutants({ format: name, dir, seed: SEED, from, to: COUNT, at }, tally);
      rmSync(dir, { recursive: true, force: true });
      if (hung !== null) tally.hangs.push(hung);
      from = hung === null ? COUNT : hung + 1;
    }
    assert.deepEqual(tally.hangs, [], "mutants that hang");
    assert.deepEqual(tally.complaints.slice(0, SHOWN), [], `${tally.complaints.length} complaints`);
    tellRow(
      `broken files of ${name}: read, or refused by name`,
      `${COUNT}: ${tally.refused} refused, ${
        COUNT - tally.refused
      } read; 0 crashes, 0 hangs, 0 without the file's name; ` +
        `${Math.ceil(tally.heldBytes / 2 ** 20)} MiB at the most`,
    );
  });
}
