/** One of two ranks is killed in each phase of a step: all end, and the same command goes on to the same bits. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { startRanks } from "./ranks_program.ts";

/** With the rank that dies: the one that writes, and one that does not. */
const PHASES = [
  ["load", 1],
  ["generate", 0],
  ["score", 1],
  ["backward", 0],
  ["reduce", 1],
  ["update", 0],
  ["save", 0],
] as const;
/** Within which a job without one of its ranks is over. */
const MOST_SECONDS = 30;

const weightsIn = (folder: string) =>
  createHash("sha256")
    .update(readFileSync(join(folder, "beta0.02_seed42_unified/model.safetensors"))).digest("hex");

const train = (folder: string, ...killed: string[]) =>
  startRanks(2, "test/cluster/killed_rank.ts", [folder, ...killed]);

describe("a rank that is killed", () => {
  it("ends the others within 30 s, in every phase of a step, and the run goes on to the same weights", () =>
    withScratchFolder(async (dir) => {
      const whole = join(dir, "whole");
      const { code, output } = await train(whole).finished;
      assert.equal(code, 0, output);
      for (const [phase, rank] of PHASES) {
        const folder = join(dir, phase);
        const ended = await train(folder, phase, `${rank}`).finished;
        assert.notEqual(ended.code, 0, `${phase}: ${ended.output}`);
        assert.doesNotMatch(ended.output, /is done/, phase);
        const died = /^dies at (\d+)$/m.exec(ended.output);
        assert.ok(died, `${phase}: ${ended.output}`);
        const seconds = (Date.now() - Number(died[1])) / 1000;
        assert.ok(seconds < MOST_SECONDS, `${phase}: over after ${seconds} s`);
        const resumed = await train(folder).finished;
        assert.equal(resumed.code, 0, `${phase}: ${resumed.output}`);
        assert.equal(weightsIn(folder), weightsIn(whole), phase);
      }
    }));
});
