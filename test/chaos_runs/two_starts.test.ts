/** Two starts in one folder, at any distance: one trains as if it had been alone, the other ends with who is there. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { startHeldScorer } from "../e2e/held_scorer.ts";
import { assertSameRun, inScratchFolder, RUN, trainArgs } from "../e2e/program.ts";
import { countOf, tellRow } from "./counts.ts";
import { RUNTIMES, startIn } from "./runtimes.ts";

const TRIES = countOf(4, 20);
const STEPS = 4;

it(`of two starts in one folder the first is unharmed, ${TRIES} times`, async () => {
  const scorer = await startHeldScorer();
  const argsOf = (folder: string, resume = true) =>
    trainArgs(folder, { max_steps: STEPS, save_steps: 2, resume, scorer_url: scorer.url });
  try {
    await inScratchFolder(async (folder) => {
      for (const runtime of RUNTIMES) {
        const alone = startIn(runtime, argsOf(join(folder, runtime)));
        assert.equal((await alone.finished).code, 0, alone.said());
      }
      const refusedMs: number[] = [];
      for (let i = 0; i < TRIES; i++) {
        const runtime = RUNTIMES[i % 2];
        const shared = join(folder, `shared${i}`);
        // At request 0 both start at once, and either may be the first; later the first is amid that step.
        const request = Math.floor(i / 2) % (STEPS + 1);
        scorer.taken();
        scorer.holdAt(Math.max(1, request));
        const first = startIn(runtime, argsOf(shared));
        if (request > 0) await scorer.holds(first);
        const began = performance.now();
        const second = startIn(runtime, argsOf(shared, i % 4 < 2));
        const refused = await Promise.race([first.finished, second.finished]);
        if (request > 0) refusedMs.push(performance.now() - began);
        assert.equal(refused.code, 1, refused.output);
        assert.match(
          refused.output,
          /^Cannot train in ".*": process \d+ on \S+ has been at it since /m,
        );
        scorer.release();
        const ended = await Promise.all([first.finished, second.finished]);
        const told = ended.map(({ output }) => output).join("\n---\n");
        assert.deepEqual(ended.map(({ code }) => code).sort(), [0, 1], told);
        assertSameRun(join(shared, RUN), join(folder, runtime, RUN));
        assert.deepEqual(readdirSync(shared), [RUN]);
      }
      const slowest = (Math.max(...refusedMs) / 1000).toFixed(1);
      tellRow(
        "Two starts in one folder, at once or amid any step, with and without resume=false, in Node and in Deno: " +
          "the first trains as if alone, bit for bit",
        `${TRIES} of ${TRIES}; the second is refused within ${slowest} s of its start`,
      );
    });
  } finally {
    await scorer.close();
  }
});
