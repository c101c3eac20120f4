/** Prompts that the quickstart's generator makes beside those of models/quickstart. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { it } from "node:test";
import { promisify } from "node:util";
import { freshRequests, listRequests } from "../../scripts/quickstart/corpus.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { ROOT } from "./source_files.ts";

const run = promisify(execFile);

it("fresh prompts are others than all that training and evaluation have, on the same subjects", () => {
  const { train, heldOut } = listRequests();
  const known = [...train, ...heldOut];
  const fresh = freshRequests();
  assert.ok(fresh.length >= 500);
  assert.equal(new Set([...known, ...fresh].map(({ prompt }) => prompt)).size, known.length + fresh.length);
  const subjects = (requests: readonly { topic: { name: string } }[]) =>
    [...new Set(requests.map(({ topic }) => topic.name))].sort();
  assert.deepEqual(subjects(fresh), subjects(known));
});

it("a command writes as many of them as it is asked for, the same each time", () =>
  withScratchFolder(async (dir) => {
    const runtime = "Deno" in globalThis ? ["run", "-A", "--no-check"] : ["--import", "tsx"];
    const write = async (name: string) => {
      const path = join(dir, name);
      const script = join(ROOT, "scripts/quickstart/build_data.ts");
      await run(process.execPath, [...runtime, script, "--fresh", "500", path], { cwd: ROOT });
      return readFile(path, "utf8");
    };
    const [text, again] = await Promise.all(["one.jsonl", "two.jsonl"].map(write));
    assert.equal(text, again);
    const rows = text.trim().split("\n").map((line) => JSON.parse(line));
    assert.equal(new Set(rows.map(({ prompt }) => prompt)).size, 500);
  }));
