/** Stopping a run as a user does, at no particular moment, and before it has begun. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { startHeldScorer } from "./held_scorer.ts";
import {
  assertSameRun,
  checkpointSteps,
  finalFiles,
  inScratchFolder,
  metricRows,
  RUN,
  startProgram,
  succeed,
  trainArgs,
} from "./program.ts";

it("with the scorer in its own process a run stopped amid its steps goes on, and equals one never stopped", async () => {
  await inScratchFolder(async (folder) => {
    const argsOf = (name: string, max_steps: number) =>
      trainArgs(join(folder, name), { max_steps, lr_scheduler_type: "constant", save_steps: 0 });
    const stopped = join(folder, "stopped", RUN);
    const program = startProgram(argsOf("stopped", 1000));
    await program.says(/^step +1\/1000 /m);
    program.signal("SIGINT");
    const { code, output } = await program.finished;
    assert.equal(code, 130, output);
    const done = Number(/^Stopped after step (\d+); the same command goes on/m.exec(output)![1]);
    assert.deepEqual([checkpointSteps(stopped), finalFiles(stopped)], [[done], []]);
    assert.equal(metricRows(stopped).at(-1)!.step, done);
    const rowsBefore = readFileSync(join(stopped, "metrics.jsonl"), "utf8");

    const steps = done + 2;
    const rest = await succeed(argsOf("stopped", steps));
    assert.match(rest, new RegExp(`^steps +${done + 1} to ${steps} \\(resumed\\)$`, "m"));
    assert.match(rest, / for 2 steps$/m);
    assert.ok(
      readFileSync(join(stopped, "metrics.jsonl"), "utf8").startsWith(rowsBefore),
      "none is done again",
    );
    await succeed(argsOf("whole", steps));
    assertSameRun(stopped, join(folder, "whole", RUN));
  });
});

it("a signal before the first step ends the run at its start, and begins no other run of a sweep", async () => {
  const scorer = await startHeldScorer();
  try {
    await inScratchFolder(async (folder) => {
      scorer.holdAt(0);
      const program = startProgram(trainArgs(folder, { scorer_url: scorer.url, beta: [0.02, 0.05] }));
      await scorer.holds(program);
      program.signal("SIGTERM");
      await program.says(/^SIGTERM: finishing this step/m);
      scorer.release();
      const { code, output } = await program.finished;
      assert.equal(code, 143, output);
      assert.match(output, /^Stopped after step 0; the same command goes on from there\.$/m);
      assert.deepEqual(scorer.taken(), [], "nothing was sampled");
      assert.deepEqual([checkpointSteps(join(folder, RUN)), finalFiles(join(folder, RUN))], [[0], []]);
      assert.ok(!existsSync(join(folder, "beta0.05_seed42_unified")), "the second run was not begun");
    });
  } finally {
    await scorer.close();
  }
});
