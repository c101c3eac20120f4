/** Stopping a run as a user does, at no particular moment, and before it has begun. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { startHeldScorer } from "./held_scorer.ts";
import {
  assertSameRun,
  checkpointSteps,
  finalFiles,
  inScratchFolder,
  metricRows,
  type Program,
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

it("a signal in a run of a sweep begins no other", async () => {
  const scorer = await startHeldScorer();
  try {
    await inScratchFolder(async (folder) => {
      scorer.holdAt(1);
      const program = startProgram(trainArgs(folder, { scorer_url: scorer.url, beta: [0.02, 0.05] }));
      await scorer.holds(program);
      program.signal("SIGTERM");
      await program.says(/^SIGTERM: finishing this step/m);
      scorer.release();
      const { code, output } = await program.finished;
      assert.equal(code, 143, output);
      assert.match(output, /^Stopped after step 1; the same command goes on from there\.$/m);
      assert.deepEqual([checkpointSteps(join(folder, RUN)), finalFiles(join(folder, RUN))], [[1], []]);
      assert.ok(!existsSync(join(folder, "beta0.05_seed42_unified")), "the second run was not begun");
    });
  } finally {
    await scorer.close();
  }
});

describe("before training has begun a signal ends the program at once, and nothing is written", () => {
  /** Signals the program once `waits` is through, which then waits for what never comes. */
  async function endsAtOnce(
    settings: Record<string, unknown>,
    waits: (program: Program) => Promise<void>,
  ): Promise<void> {
    await inScratchFolder(async (folder) => {
      const program = startProgram(trainArgs(join(folder, "runs"), { beta: [0.02, 0.05], ...settings }));
      await waits(program);
      const began = performance.now();
      program.signal("SIGINT");
      const { code, output } = await program.finished;
      assert.equal(code, 130, output);
      assert.match(output, /^SIGINT: ended before the first step; the same command starts again\.$/m);
      assert.ok(performance.now() - began < 10_000, "at once");
      assert.ok(!existsSync(join(folder, "runs")), output);
    });
  }

  it("while it waits for the scorer's address", () =>
    endsAtOnce(
      { scorer_url: "file:no_such_scorer.url" },
      ({ says }) => says(/^Waiting for the scorer's address/m),
    ));

  it("while it waits for the scorer's health", async () => {
    const scorer = await startHeldScorer();
    try {
      scorer.holdAt(0);
      await endsAtOnce({ scorer_url: scorer.url }, (program) => scorer.holds(program));
      assert.deepEqual(scorer.taken(), [], "nothing was sampled");
    } finally {
      scorer.release();
      await scorer.close();
    }
  });

  it("while a hub does not answer", async () => {
    const { HF_ENDPOINT } = process.env;
    let asked = () => {};
    const question = new Promise<void>((resolve) => asked = resolve);
    const silent = createServer(() => asked());
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    process.env.HF_ENDPOINT = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    try {
      await endsAtOnce(
        { model_name: "some-org/some-model" },
        (program) => program.reaches(question, "it asked the hub"),
      );
    } finally {
      if (HF_ENDPOINT === undefined) delete process.env.HF_ENDPOINT;
      else process.env.HF_ENDPOINT = HF_ENDPOINT;
      silent.closeAllConnections();
      silent.close();
    }
  });
});
