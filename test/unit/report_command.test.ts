/** The `report` command: pages of every folder that is named. */
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { reportCommand } from "../../src/cli/report.ts";
import { withScratchFolder } from "./scratch_folder.ts";

async function writeRun(runDir: string): Promise<string> {
  await mkdir(runDir, { recursive: true });
  await writeFile(join(runDir, "metrics.jsonl"), '{"step": 1, "safety/safe_ratio": 0.5}\n');
  return runDir;
}

describe("the report command", () => {
  it("of one folder writes its page, and nothing else", () =>
    withScratchFolder(async (folder) => {
      const run = await writeRun(join(folder, "beta0.1"));
      assert.equal(await reportCommand([run]), 0);
      assert.deepEqual((await readdir(run)).sort(), ["metrics.jsonl", "report.html"]);
      assert.deepEqual(await readdir(folder), ["beta0.1"]);
    }));

  it("of several compares all of them in the folder above", () =>
    withScratchFolder(async (folder) => {
      const runs = await Promise.all(["a", "b", "c"].map((name) => writeRun(join(folder, name))));
      assert.equal(await reportCommand(runs), 0);
      const html = await readFile(join(folder, "comparison.html"), "utf8");
      assert.match(html, /<li class="s0">a<\/li><li class="s1">b<\/li><li class="s2">c<\/li>/);
      assert.deepEqual((await readdir(folder)).sort(), ["a", "b", "c", "comparison.html"]);
    }));

  it("fails for a folder that is no run", () =>
    withScratchFolder(async (folder) => {
      const run = await writeRun(join(folder, "a"));
      await assert.rejects(reportCommand([run, join(folder, "none")]), /none/);
    }));
});
