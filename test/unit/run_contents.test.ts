/** Prompts and models are told apart by content: what is hashed, and what is not read twice for it. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { scoreModelHashes } from "../../src/assembly/hub.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import { sweepRuns } from "../../src/config/sweep.ts";
import { openFileBytes } from "../../src/io/files/file_bytes.ts";
import { PassingHash, sampledSha256 } from "../../src/io/files/sha256.ts";
import { modelHashes } from "../../src/io/model/model_hashes.ts";
import { readPrompts } from "../../src/io/prompts/prompts.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

const LINES = Array.from({ length: 400 }, (_, i) => `{"prompt": "number ${i}"}\n`).join("");
const GOLDEN = new URL("../golden/parquet_rows/zstd.parquet", import.meta.url).pathname;

test("a file of prompts has the hash that sha256sum says, in every format and however few rows are taken", () =>
  withScratchFolder(async (dir) => {
    const contents: Record<string, Uint8Array> = {
      "lines.jsonl": new TextEncoder().encode(LINES),
      "array.json": new TextEncoder().encode(`[${LINES.trim().replaceAll("\n", ",\n")}]\n\n`),
      "lines.jsonl.gz": gzipSync(LINES),
    };
    for (const [name, bytes] of Object.entries(contents)) {
      await writeFile(join(dir, name), bytes);
      for (const maxSamples of [undefined, 1, 400]) {
        const hashes: string[] = [];
        const options = { promptKey: "prompt", maxSamples, pieceBytes: 256 };
        const rows = await readPrompts(join(dir, name), {
          ...options,
          onSha256: (hash) => hashes.push(hash),
        });
        assert.equal(rows.length, maxSamples ?? 400);
        assert.deepEqual(hashes, [sha256(bytes)], `${name}, ${maxSamples}`);
      }
    }
    const parquet: string[] = [];
    await readPrompts(GOLDEN, { promptKey: "messages", onSha256: (hash) => parquet.push(hash) });
    const golden = await openFileBytes(GOLDEN);
    assert.deepEqual(parquet, [sha256(await golden.read(0, golden.size))]);
    await golden.close();
  }));

test("what has gone by is not read again, and what comes after the end does not count", async () => {
  const content = new TextEncoder().encode("0123456789");
  const read: [number, number][] = [];
  const hash = new PassingHash();
  hash.add(content.subarray(0, 4));
  const digest = hash.digest({
    path: "p",
    size: content.length,
    read(position, length) {
      read.push([position, length]);
      return Promise.resolve(content.slice(position, position + length));
    },
    close: () => Promise.resolve(),
  });
  hash.add(content.subarray(4, 6)); // of a stream that ran ahead
  assert.equal(await digest, sha256(content));
  assert.deepEqual(read, [[4, 6]]);
});

test("a large file is another where its size, its ends or weights throughout it are", () =>
  withScratchFolder(async (dir) => {
    const bytes = new Uint8Array(3 << 20).fill(7);
    const hashOf = async (change: Uint8Array) => {
      const path = join(dir, "weights");
      await writeFile(path, change);
      return await sampledSha256(path);
    };
    const whole = await hashOf(bytes);
    assert.equal(await hashOf(bytes.slice()), whole);
    const trained = bytes.map((byte, i) => i % 1000 === 999 ? byte + 1 : byte);
    const first = bytes.slice();
    first[0]++;
    const last = bytes.slice();
    last[last.length - 1]++;
    const others = [trained, first, last, bytes.subarray(1)];
    for (const other of others) assert.notEqual(await hashOf(other), whole);
  }));

test("a model is told apart by config, weights and what goes with it, wherever it lies; a README is no part of it", () =>
  withScratchFolder(async (dir) => {
    const write = (name: string, text: string) => writeFile(join(dir, "model", name), text);
    await mkdir(join(dir, "model"));
    await write("config.json", "{}");
    await write(
      "model.safetensors.index.json",
      '{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}',
    );
    for (const name of ["one.safetensors", "two.safetensors", "tokenizer.json"]) await write(name, name);
    const hashes = (name = "model") =>
      modelHashes(join(dir, name), null, [join(dir, name, "tokenizer.json")]);
    const before = await hashes();
    assert.deepEqual(Object.keys(before).sort(), [
      "config.json",
      "model.safetensors.index.json",
      "one.safetensors",
      "tokenizer.json",
      "two.safetensors",
    ]);
    await write("README.md", "words");
    await rename(join(dir, "model"), join(dir, "moved"));
    assert.deepEqual(await hashes("moved"), before);
    await writeFile(join(dir, "moved", "two.safetensors"), "another");
    const after = await hashes("moved");
    assert.deepEqual(Object.keys(after).filter((name) => after[name] !== before[name]), ["two.safetensors"]);
  }));

test("score models that a run serves itself are told apart too; those of a service are not its own", async () => {
  const [run] = sweepRuns(defaultConfig());
  const names = Object.keys(await scoreModelHashes(run));
  for (const key of ["reward_model", "cost_model"]) {
    assert.ok(
      ["config.json", "model.safetensors"].every((name) => names.includes(`${key}/${name}`)),
      `${names}`,
    );
  }
  assert.deepEqual(await scoreModelHashes({ ...run, scorer_url: "http://127.0.0.1:1" }), {});
});
