/** What a run outlives: a reader of its output that has seen enough, and a signal that is handed on twice. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { setTimeout as wait } from "node:timers/promises";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import {
  checkpointSteps,
  finalFiles,
  inScratchFolder,
  ROOT,
  RUN,
  startProgram,
  trainArgs,
} from "./program.ts";

describe("a run", () => {
  it("goes on to its end when nobody reads its output any more", () =>
    inScratchFolder(async (folder) => {
      const runtime = "Deno" in globalThis
        ? ["run", "-A", "--no-check", "--unstable-webgpu"]
        : ["--import", "tsx"];
      const words = [...runtime, join(ROOT, "src/cli/main.ts"), ...trainArgs(folder, { max_steps: 4 })];
      const child = spawn(process.execPath, words, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
      child.stdout.once("data", () => child.stdout.destroy());
      child.stderr.once("data", () => child.stderr.destroy());
      const code = await new Promise((resolve) => child.on("exit", resolve));
      assert.equal(code, 0);
      assert.deepEqual(finalFiles(join(folder, RUN)), ["model.safetensors", "pytorch_model.bin"]);
    }));

  it("takes a signal that npm and its process group both hand on for one", () =>
    inScratchFolder(async (folder) => {
      const program = startProgram(trainArgs(folder, { max_steps: 500, save_steps: 0 }));
      await program.says(/^step +\d+\/500/m);
      program.signal("SIGINT");
      await wait(50);
      program.signal("SIGINT");
      const { code, output } = await program.finished;
      assert.equal(code, 130, output);
      assert.match(output, /^Stopped after step \d+; the same command goes on/m);
      assert.equal(checkpointSteps(join(folder, RUN)).length, 1);
    }));
});
