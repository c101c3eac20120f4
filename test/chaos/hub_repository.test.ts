/** Which files of a repository are a model. */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { test } from "node:test";
import { fetchModel } from "../../src/io/hub/cache.ts";
import { lackingTexts, listRepository, weightFiles } from "../../src/io/hub/repository.ts";
import { withScratchFolder } from "../unit/scratch_folder.ts";
import { COMMIT, startFakeHub } from "./fake_hub.ts";

const indexOf = (...shards: string[]) =>
  JSON.stringify({ weight_map: Object.fromEntries(shards.map((shard, i) => [`w${i}`, shard])) });

const weightsOf = (names: string[], index = indexOf("a", "b", "a")) =>
  weightFiles(new Set(names), () => Promise.resolve(index));

test("one file of weights comes before its shards, and safetensors before torch's", async () => {
  const [single, index] = ["model.safetensors", "model.safetensors.index.json"];
  const [bin, binIndex] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
  assert.deepEqual(await weightsOf([index, single, bin]), [single]);
  assert.deepEqual(await weightsOf([bin, index]), [index, "a", "b"]);
  assert.deepEqual(await weightsOf([binIndex, bin]), [bin]);
  assert.deepEqual(await weightsOf([binIndex]), [binIndex, "a", "b"]);
  assert.deepEqual(await weightsOf(["README.md"]), []);
});

test("an index that is none is refused in one line with the reason", async () => {
  const names = ["model.safetensors.index.json"];
  await assert.rejects(weightsOf(names, "{"), /index\.json names no shards \(.*JSON.*\); choose another/);
  await assert.rejects(weightsOf(names, '{"weight_map": {"a": 1}}'), /names no shards \(weight_map\.a: /);
  await assert.rejects(weightsOf(names, "[]"), /names no shards \(it: /);
});

test("a model has a config and a tokenizer in either form", () => {
  const lacking = (...names: string[]) => lackingTexts(new Set(names));
  const tokenizer = "tokenizer.json (or tokenizer.model)";
  assert.deepEqual(lacking("config.json", "tokenizer.model"), []);
  assert.deepEqual(lacking("config.json", "tokenizer.json"), []);
  assert.deepEqual(lacking("config.json", "special_tokens_map.json"), [tokenizer]);
  assert.deepEqual(lacking("tokenizer_config.json"), ["config.json", tokenizer]);
});

test("a hub cannot have a file written outside its snapshot: names with a slash of either kind are no files of a model", async () => {
  const outside = ["../evil.safetensors", "..\\evil.safetensors", "onnx/model.safetensors"];
  const model = {
    "config.json": "{}",
    "tokenizer.model": "t",
    "model.safetensors.index.json": indexOf(outside[0]!),
  };
  const hub = await startFakeHub({ ...model, ...Object.fromEntries(outside.map((name) => [name, "x"])) });
  try {
    const { commit, files } = await listRepository("org/name", "main", hub);
    assert.equal(commit, COMMIT);
    assert.deepEqual([...files.keys()].sort(), Object.keys(model).sort());
    await withScratchFolder(async (cacheDir) => {
      const settings = { endpoint: hub.endpoint, cacheDir, offline: false };
      await assert.rejects(
        fetchModel({ id: "org/name", revision: undefined }, settings),
        /has no \.\.\/evil\.safetensors; choose another model/,
      );
      assert.ok(!(await readdir(cacheDir, { recursive: true })).some((name) => name.includes("evil")));
    });
  } finally {
    await hub.close();
  }
});
