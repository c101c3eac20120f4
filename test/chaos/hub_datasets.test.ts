/** Splits of a hub's data sets: what is fetched, kept, and found again without a network. */
import assert from "node:assert/strict";
import { mkdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { makePkuPrompts } from "../../src/assembly/prompt_sets.ts";
import { isPromptSetHere, promptFiles } from "../../src/assembly/prompts.ts";
import { readPrompts } from "../../src/io/prompts/prompts.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { COMMIT, type FakeHub, gitBlobId, startFakeHub } from "./fake_hub.ts";

const rowsOf = (split: string, count: number) =>
  Array.from(
    { length: count },
    (_, i) => `${JSON.stringify({ prompt: ` ${split} ${i % (count - 2)} `, is_safe: true })}\n`,
  )
    .join("");
const FILES = {
  "README.md":
    "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/*/train.jsonl.gz\n" +
    "  - split: test\n    path: data/*/test.jsonl.gz\n---\n",
  "data/A 7B/train.jsonl.gz": gzipSync(rowsOf("train", 6)),
  "data/B/train.jsonl.gz": gzipSync(rowsOf("more", 6)),
  "data/B/test.jsonl.gz": gzipSync(rowsOf("test", 8)),
  "../outside.jsonl": "{}",
};

let hub: FakeHub;
const saved = { ...process.env };

/** Runs `body` with an empty cache, of the hub. */
const withCache = (body: (cache: string) => Promise<void>) =>
  withScratchFolder(async (cache) => {
    Object.assign(process.env, { HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cache, HF_TOKEN: "secret" });
    await body(cache);
  });

describe("a split of a data set", () => {
  beforeEach(async () => {
    hub = await startFakeHub(FILES);
  });
  afterEach(async () => {
    for (const name of ["HF_ENDPOINT", "HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE"]) {
      if (saved[name] === undefined) delete process.env[name];
      else process.env[name] = saved[name];
    }
    await hub.close();
  });

  it("is downloaded into the cache as huggingface_hub lays it out, and read", () =>
    withCache(async (cache) => {
      const files = await promptFiles("hf:org/name/train");
      const snapshot = join(cache, "datasets--org--name", "snapshots", COMMIT);
      assert.deepEqual(files, [
        join(snapshot, "data/A 7B/train.jsonl.gz"),
        join(snapshot, "data/B/train.jsonl.gz"),
      ]);
      const blob = gitBlobId(FILES["data/B/train.jsonl.gz"]);
      assert.equal(await readlink(files[1]), join("..", "..", "..", "..", "blobs", blob));
      assert.equal(await readFile(join(cache, "datasets--org--name", "refs", "main"), "utf8"), COMMIT);
      assert.equal((await readPrompts(files, { promptKey: "prompt" })).length, 12);
      const asked = hub.requests.map(({ path }) => path).filter((path) => path.includes("/resolve/"));
      assert.equal(asked.length, 3);
      assert.ok(asked.every((path) => path.startsWith(`/datasets/org/name/resolve/${COMMIT}/`)));
    }));

  it("that is cached costs one question, and none offline", () =>
    withCache(async (cache) => {
      const files = await promptFiles("hf:org/name/train");
      hub.requests.length = 0;
      assert.deepEqual(await promptFiles("hf:org/name/train"), files);
      assert.deepEqual(hub.requests.map(({ path }) => path.split("?")[0]), [
        "/api/datasets/org/name/revision/main",
      ]);
      process.env.HF_HUB_OFFLINE = "1";
      hub.requests.length = 0;
      assert.deepEqual(await promptFiles("hf:org/name/train"), files);
      assert.deepEqual([
        await isPromptSetHere("hf:org/name/train"),
        await isPromptSetHere("hf:org/name/test"),
      ], [true, false]);
      await assert.rejects(
        promptFiles("hf:org/name/test"),
        /offline: .*does not hold its split "test"; unset HF_HUB/,
      );
      assert.deepEqual(hub.requests, []);
      await rm(join(cache, "datasets--org--name"), { recursive: true });
      await assert.rejects(promptFiles("hf:org/name/train"), /offline/);
    }));

  it("is never written outside the cache, whatever a hub calls its files", () =>
    withCache(async (cache) => {
      hub.files.delete("README.md");
      for (const name of ["../../../../train.jsonl", "train.jsonl"]) {
        hub.files.set(name, new TextEncoder().encode(rowsOf("any", 3)));
      }
      const snapshot = join(cache, "datasets--org--name", "snapshots", COMMIT);
      const names = ["data/A 7B/train.jsonl.gz", "data/B/train.jsonl.gz", "train.jsonl"];
      assert.deepEqual(await promptFiles("hf:org/name/train"), names.map((name) => join(snapshot, name)));
    }));

  it("is refused in words of data sets", () =>
    withCache(async () => {
      await assert.rejects(
        promptFiles("hf:org/other/train"),
        /there is no data set "org\/other" that you may see/,
      );
      await assert.rejects(promptFiles("hf:org/name/dev"), /no split "dev"; take one of "train", "test"/);
      hub.intervene = (_, response) => !!response.writeHead(403, { "x-error-code": "GatedRepo" }).end();
      await assert.rejects(promptFiles("hf:org/name/train"), /accept its terms at .*\/datasets\/org\/name/);
    }));

  it("makes a prompt set: different prompts, train and eval of their splits, the same for the same seed", () =>
    withCache(async (cache) => {
      const make = (output: string, seed = 7) =>
        makePkuPrompts({ from: "hf:org/name", train: 5, eval: 4, seed, output: join(cache, output) });
      const linesOf = async (path: string) =>
        (await readFile(path, "utf8")).trim().split("\n").map((line) => JSON.parse(line));
      const [one, same, other] = [await make("one"), await make("same"), await make("other", 8)];
      const train = await linesOf(one.train);
      assert.equal(new Set(train.map(({ prompt }) => prompt)).size, 5);
      for (const row of train) assert.match(JSON.stringify(row), /^\{"prompt":"(train|more) \d"\}$/);
      for (const { prompt } of await linesOf(one.eval)) assert.match(prompt, /^test \d$/);
      assert.deepEqual(await linesOf(same.train), train);
      assert.notDeepEqual(await linesOf(other.train), train);
      assert.match(await readFile(join(cache, "one", "README.md"), "utf8"), /CC BY-NC 4\.0/);
      await make("one");
      await assert.rejects(make("one", 8), /train\.jsonl': another file is there; move it away/);
      await assert.rejects(
        makePkuPrompts({ from: "hf:org/name", train: 9, eval: 4, seed: 7, output: join(cache, "many") }),
        /Cannot draw 9 prompts from hf:org\/name\/train: it has 8 that are different/,
      );
    }));

  it("or both parts of one file, none in both", () =>
    withCache(async (cache) => {
      await mkdir(join(cache, "d"));
      await writeFile(join(cache, "rows.jsonl"), rowsOf("any", 12));
      const from = join(cache, "rows.jsonl");
      const set = await makePkuPrompts({ from, train: 6, eval: 4, seed: 1, output: join(cache, "d") });
      const lines = (await Promise.all([set.train, set.eval].map((path) => readFile(path, "utf8")))).join("");
      assert.equal(new Set(lines.trim().split("\n")).size, 10);
    }));
});
