/** Runs that fail: what they say, what they save, and what they must not save. */
import assert from "node:assert/strict";
import fs, { cpSync, readdirSync, rmSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { after, before, describe, it, mock } from "node:test";
import { closeGpu, openGpu } from "../../src/gpu/device.ts";
import { ScorerUnavailableError } from "../../src/scorer/errors.ts";
import { leftOut } from "../left_out.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import {
  assertSameRun,
  checkpointsIn,
  evaluation,
  finalWeightsIn,
  rowsIn,
  stepsOf,
  textScores,
  tinyRun,
  type TinyRunOptions,
} from "./tiny_run.ts";

before(async () => void await openGpu());
after(closeGpu);

type Score = NonNullable<TinyRunOptions["score"]>;

/** Scores by text, until the scorer is gone. */
const goneAt = (at: number): Score => (request, completions) => {
  if (request >= at) throw new Error("the scorer is gone");
  return textScores(completions);
};

describe("a run that fails between two steps", () => {
  it("saves the last whole step, the same as a run that was stopped there, and goes on from it", () =>
    withScratchFolder(async (dir) => {
      const settings = { save_steps: 0, scatter_every: 3 };
      const [whole, stopped, failed] = ["whole", "stopped", "failed"].map((name) => join(dir, name));
      const complete = await tinyRun(whole, { settings });
      await tinyRun(stopped, { settings, stopAfter: 2 });
      const run = await tinyRun(failed, { settings, score: goneAt(3), evaluate: evaluation });
      assert.equal(run.error!.message, "the scorer is gone");
      assert.deepEqual(run.messages, []);
      assert.deepEqual([checkpointsIn(failed), finalWeightsIn(failed)], [[2], []]);
      assertSameRun(failed, stopped);
      const rest = await tinyRun(failed, { settings });
      assert.deepEqual(rest.asked, complete.asked.slice(2));
      assertSameRun(failed, whole);
    }));

  it("where it cannot save either, says so, keeps the checkpoint before and fails with what came first", () =>
    withScratchFolder(async (dir) => {
      const run = await tinyRun(dir, {
        settings: { save_steps: 2 },
        score: goneAt(4),
        // A checkpoint holds a copy of config.json: without it, saving fails.
        onStep: ({ step }) => step === 3 && rmSync(join(dir, "config.json")),
      });
      assert.equal(run.error!.message, "the scorer is gone");
      assert.match(run.messages[0], /^No checkpoint of step 3: Cannot copy .*config\.json/);
      assert.deepEqual(checkpointsIn(dir), [2]);
      assert.deepEqual(readdirSync(dir).filter((name) => name.startsWith(".")), [], "nothing half written");
    }));

  const MOMENTS: [string, number, number][] = [
    ["amid the run", 2, 0],
    ["at the end", 4, 0],
    ["at the end", 4, 1],
  ];
  for (const [when, at, save_steps] of MOMENTS) {
    it(`in an evaluation ${when} keeps the step, and evaluates when it goes on: save_steps ${save_steps}`, () =>
      withScratchFolder(async (dir) => {
        const [whole, failed] = [join(dir, "whole"), join(dir, "failed")];
        const settings = { save_steps, eval_every: 2, scatter_every: 3 };
        const complete = await tinyRun(whole, { settings, evaluate: evaluation });
        let steps = 0;
        const run = await tinyRun(failed, {
          settings,
          onStep: ({ step }) => steps = step,
          evaluate: (lambda) =>
            steps < at ? evaluation(lambda) : Promise.reject(new Error("the scorer is gone")),
        });
        assert.equal(run.error!.message, "the scorer is gone");
        assert.equal(checkpointsIn(failed).at(-1), at);
        assert.deepEqual(finalWeightsIn(failed), []);
        const rest = await tinyRun(failed, { settings, evaluate: evaluation });
        assert.deepEqual(stepsOf(rest.events), stepsOf(complete.events).filter((step) => step > at));
        assert.equal(rest.events[2], `evaluate ${at}`);
        assert.equal(rest.result!.rows[0]["eval/total_samples"], 1);
        // Saved after the failure, before the scatter window of the last steps was written out.
        assertSameRun(failed, whole, at === 4 ? ["checkpoint-4"] : []);
        assert.deepEqual((await tinyRun(failed, { settings, evaluate: evaluation })).result!.rows, []);
      }));
  }
});

describe("a run that is killed after the scorer has answered", () => {
  /** Scores that are others each time, as those of a service that samples. */
  const fickle = () => {
    let salt = 0;
    return (_: number, completions: string[]) => textScores(completions.map((text) => `${salt++} ${text}`));
  };
  /** What is on the disk at some moment of a run: what SIGKILL leaves. */
  const killedAt = async (
    whole: string,
    killed: string,
    settings: TinyRunOptions["settings"],
    step: number,
  ) => {
    const run = await tinyRun(whole, {
      settings,
      score: fickle(),
      onStep: (row) => row.step === step && cpSync(whole, killed, { recursive: true }),
    });
    assert.equal(run.error, null);
    return run;
  };

  it("asks only for the steps behind it, and has the scores of the one that was killed", () =>
    withScratchFolder(async (dir) => {
      const [whole, killed] = [join(dir, "whole"), join(dir, "killed")];
      const settings = { save_steps: 2 };
      const complete = await killedAt(whole, killed, settings, 3);
      assert.deepEqual(checkpointsIn(killed), [2]);
      assert.ok(readdirSync(killed).includes("score_journal-0.jsonl"));
      const sameAsAt = (from: number) => {
        const score = fickle();
        for (let step = 1; step <= from; step++) score(0, ["a", "b", "c", "d"]);
        return score;
      };
      const rest = await tinyRun(killed, { settings, score: sameAsAt(3) });
      assert.deepEqual(stepsOf(rest.events), [3, 4]);
      assert.deepEqual(rest.asked, complete.asked.slice(3));
      assertSameRun(killed, whole);
      assert.deepEqual(readdirSync(killed).filter((name) => name.includes("journal")), []);
    }));

  it("before its first checkpoint asks for none of its steps again either", () =>
    withScratchFolder(async (dir) => {
      const [whole, killed] = [join(dir, "whole"), join(dir, "killed")];
      const settings = { save_steps: 0 };
      const complete = await killedAt(whole, killed, settings, 4);
      const rest = await tinyRun(killed, { settings, score: () => assert.fail("asked again") });
      assert.deepEqual([rest.error, rest.asked], [null, []]);
      assert.equal(complete.asked.length, 4);
      assertSameRun(killed, whole);
    }));

  it("asks again where a run failed by what it was told, but not where the scorer was gone", () =>
    withScratchFolder(async (dir) => {
      const settings = { save_steps: 0, scorer_batch_size: 2 };
      const failing = (error: Error): Score => (request, completions) => {
        if (request === 4) throw error;
        return textScores(completions);
      };
      const gone = new ScorerUnavailableError("http://s", {
        request: "POST /score_batch",
        attempts: 1,
        seconds: 0,
        cause: new Error("refused"),
      });
      for (const [error, asked] of [[gone, 5], [new RangeError("beyond all bounds"), 6]] as const) {
        const run = join(dir, error.name);
        await tinyRun(run, { settings, score: failing(error) });
        assert.deepEqual(checkpointsIn(run), [1]);
        assert.equal((await tinyRun(run, { settings })).asked.length, asked);
      }
    }));
});

/** Writes half of each row of a run's log for which `isDue`, and then has no space. */
async function withRowFault<T>(runDir: string, isDue: () => boolean, body: () => Promise<T>): Promise<T> {
  const real = fs.writeSync as (
    descriptor: number,
    bytes: Uint8Array,
    from: number,
    length: number,
  ) => number;
  const isOfLog = (descriptor: number) =>
    fs.fstatSync(descriptor).ino ===
      fs.statSync(join(runDir, "metrics.jsonl"), { throwIfNoEntry: false })?.ino;
  const write = mock.method(
    fs,
    "writeSync",
    (descriptor: number, bytes: Uint8Array, from: number, length: number) => {
      if (!isOfLog(descriptor) || !isDue()) return real(descriptor, bytes, from, length);
      real(descriptor, bytes, from, length >> 1);
      throw Object.assign(new Error("no space"), { code: "ENOSPC", syscall: "write" });
    },
  );
  syncBuiltinESMExports();
  try {
    return await body();
  } finally {
    write.mock.restore();
    syncBuiltinESMExports();
  }
}

// Deno binds an import of node:fs once; what is set on the module later is not seen through it.
const skip = "Deno" in globalThis &&
  leftOut("a row that the disk does not take", "Deno's node:fs cannot be made to fail from outside");

describe("a record that the disk does not take", { skip }, () => {
  it("once is made up for, and the run goes on", () =>
    withScratchFolder(async (dir) => {
      const [whole, faulty] = [join(dir, "whole"), join(dir, "faulty")];
      await tinyRun(whole);
      let rows = 0;
      const run = await withRowFault(faulty, () => ++rows === 2, () => tinyRun(faulty));
      assert.deepEqual([run.error, run.messages], [null, []]);
      assertSameRun(faulty, whole);
    }));

  it("any more ends the run without a checkpoint that lacks it, and the same command makes both again", () =>
    withScratchFolder(async (dir) => {
      const [whole, faulty] = [join(dir, "whole"), join(dir, "faulty")];
      await tinyRun(whole);
      let rows = 0;
      const run = await withRowFault(faulty, () => ++rows >= 3, () => tinyRun(faulty));
      assert.match(
        run.error!.message,
        /^Cannot append to '.*metrics\.jsonl': .*disk is full \(ENOSPC\); free space/,
      );
      assert.match(run.messages[0], /^No checkpoint of step 3: Cannot append to '.*metrics\.jsonl'/);
      assert.deepEqual(checkpointsIn(faulty), [1, 2]);
      assert.deepEqual(rowsIn(faulty).map(({ step }) => step), [1, 2], "no half of a row is left");
      await tinyRun(faulty);
      assertSameRun(faulty, whole);
    }));
});

describe("a run that ends", () => {
  it("frees on the GPU all that it took, also where it fails", async () => {
    await withScratchFolder(async (dir) => {
      assert.equal((await tinyRun(join(dir, "whole"))).leakedTensors, 0);
      assert.equal((await tinyRun(join(dir, "failed"), { score: goneAt(2) })).leakedTensors, 0);
    });
  });

  it("tells of its steps and evaluations in one row for each step", () =>
    withScratchFolder(async (dir) => {
      const { result } = await tinyRun(dir, { settings: { eval_every: 2 }, evaluate: evaluation });
      assert.deepEqual(result!.rows.map((row) => row["eval/total_samples"]), [undefined, 1, undefined, 1]);
      assert.ok(result!.rows.every(({ loss }) => loss !== undefined));
    }));
});
