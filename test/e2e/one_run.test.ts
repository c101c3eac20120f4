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

const LONG = { max_steps: 30, save_steps: 5 };

describe("a second run in the folder of one that trains", () => {
  it("ends with who is there, and the first ends as if it had been alone; so does one that is to start over", () =>
    inScratchFolder(async (dir) => {
      const [shared, alone] = [join(dir, "shared"), join(dir, "alone")];
      const first = startProgram(trainArgs(shared, LONG));
      await first.says(/^step \d+\/30/m);
      first.signal("SIGSTOP"); // amid training, until the others have been there
      for (const settings of [LONG, { ...LONG, resume: false }]) {
        const { code, output } = await runProgram(trainArgs(shared, settings));
        assert.equal(code, 1, output);
        assert.match(output, /^Cannot train in ".*": process \d+ on \S+ has been at it since /m);
      }
      first.signal("SIGCONT");
      assert.equal((await first.finished).code, 0, first.said());
      await succeed(trainArgs(alone, LONG));
      assertSameRun(join(shared, RUN), join(alone, RUN));
      assert.deepEqual(readdirSync(shared), [RUN]);
    }));

  it("goes on where the first was killed, and says that it is gone", () =>
    inScratchFolder(async (dir) => {
      const first = startProgram(trainArgs(dir, LONG));
      await first.says(/^step \d+\/30/m);
      first.signal("SIGKILL");
      await first.finished;
      assert.ok(existsSync(join(dir, `.${RUN}.lock`)));
      const output = await succeed(trainArgs(dir, LONG));
      assert.match(output, /^The run before in this folder, process \d+ on \S+ since .*, is gone$/m);
      assert.deepEqual(readdirSync(dir), [RUN]);
    }));
});
