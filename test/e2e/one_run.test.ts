/** One run, one folder: a second start of the same command leaves the first alone, whatever it is to do there. */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  assertSameRun,
  inScratchFolder,
  RUN,
  runProgram,
  startProgram,
  succeed,
  trainArgs,
} from "./program.ts";

const RUNS = { max_steps: 8, save_steps: 2 };

describe("a second run in the folder of one that trains", () => {
  it("ends with who is there, and the first ends as if it had been alone; so does one that is to start over", () =>
    inScratchFolder(async (dir) => {
      const [shared, alone] = [join(dir, "shared"), join(dir, "alone")];
      const first = startProgram(trainArgs(shared, RUNS));
      await first.says(/^step \d+\/8/m);
      first.signal("SIGSTOP"); // amid training, until the others have been there
      // Both at once: each is refused before it does anything.
      const others = [RUNS, { ...RUNS, resume: false }].map((settings) =>
        runProgram(trainArgs(shared, settings))
      );
      for (const { code, output } of await Promise.all(others)) {
        assert.equal(code, 1, output);
        assert.match(output, /^Cannot train in ".*": process \d+ on \S+ has been at it since /m);
      }
      first.signal("SIGCONT");
      assert.equal((await first.finished).code, 0, first.said());
      await succeed(trainArgs(alone, RUNS));
      assertSameRun(join(shared, RUN), join(alone, RUN));
      assert.deepEqual(readdirSync(shared), [RUN]);
    }));

  it("goes on where the first was killed, and says that it is gone", () =>
    inScratchFolder(async (dir) => {
      const first = startProgram(trainArgs(dir, RUNS));
      await first.says(/^step \d+\/8/m);
      first.signal("SIGKILL");
      await first.finished;
      assert.ok(existsSync(join(dir, `.${RUN}.lock`)));
      const output = await succeed(trainArgs(dir, RUNS));
      assert.match(output, /^The run before in this folder, process \d+ on \S+ since .*, is gone$/m);
      assert.deepEqual(readdirSync(dir), [RUN]);
    }));
});
