/** Which files of a folder are its weights, and how shards become one. */
import assert from "node:assert/strict";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { tensorValues } from "../../src/io/model/model_folder.ts";
import { openModelWeights, parseIndex } from "../../src/io/model/model_weights.ts";
import { writeSafetensors } from "../../src/io/tensors/safetensors.ts";
import { writeTorchBin } from "../../src/io/torch/writer.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const GOLDEN = fileURLToPath(new URL("../golden/weights_files/sharded/", import.meta.url));

type Kind = "safetensors" | "bin";
const INDEX = { safetensors: "model.safetensors.index.json", bin: "pytorch_model.bin.index.json" };

/** Shards 1 with tensor "a" and 2 with tensor "b", and an index of them. */
async function writeShards(dir: string, kind: Kind, weightMap: Record<string, unknown>): Promise<void> {
  for (const [i, name] of ["a", "b"].entries()) {
    const tensor = { name, dtype: "F32" as const, shape: [1], bytes: new Uint8Array(4).fill(i + 1) };
    const path = join(dir, `model-${i + 1}.${kind}`);
    await (kind === "bin" ? writeTorchBin(path, [tensor]) : writeSafetensors(path, [tensor]));
  }
  await writeFile(join(dir, INDEX[kind]), JSON.stringify({ weight_map: weightMap }));
}

for (const kind of ["safetensors", "bin"] as const) {
  test(`openModelWeights() reads the ${kind} shards of an index as one`, () =>
    withScratchFolder(async (dir) => {
      await writeShards(dir, kind, { a: `model-1.${kind}`, b: `model-2.${kind}` });
      const weights = await openModelWeights(dir);
      assert.deepEqual([...weights.tensors.keys()], ["a", "b"]);
      assert.deepEqual(await weights.read("b"), Uint8Array.of(2, 2, 2, 2));
      await weights.close();
    }));

  test(`an index of ${kind} shards that are missing, differ or lie elsewhere is refused`, () =>
    withScratchFolder(async (dir) => {
      const open = () => openModelWeights(dir);
      await writeShards(dir, kind, { a: `model-1.${kind}`, b: `model-3.${kind}` });
      await assert.rejects(open, new RegExp(`1 of its 2 shards are missing: model-3.${kind}`));
      await writeShards(dir, kind, { a: `model-2.${kind}`, b: `model-2.${kind}` });
      await assert.rejects(open, new RegExp(`places tensor "a" in model-2.${kind}, which lacks it`));
      await writeShards(dir, kind, { a: `../model-1.${kind}` });
      await assert.rejects(open, new RegExp(`name a .${kind} file beside it`));
      await writeShards(dir, kind, {});
      await assert.rejects(open, /names no tensor/);
      await writeFile(join(dir, INDEX[kind]), "{");
      await assert.rejects(open, /required valid JSON/);
    }));
}

test("an index names files of its own format in its own folder, and nothing else", () => {
  const parse = (file: unknown) =>
    parseIndex(new TextEncoder().encode(JSON.stringify({ weight_map: { a: file } })), "index.json", ".bin");
  assert.equal(parse("pytorch_model-00001-of-00002.bin").get("a"), "pytorch_model-00001-of-00002.bin");
  const elsewhere = ["../x.bin", "/x.bin", "x/y.bin", "..\\x.bin", "x.bin\0.bin", "..", ".bin/", ""];
  for (const file of [...elsewhere, "x.safetensors", "x.bin.exe", 1, null, ["x"], { bin: "x.bin" }]) {
    assert.throws(() => parse(file), /index\.json.*tensor "a" is required to name a \.bin file beside it/);
  }
  const hostile = `{"weight_map": {"__proto__": "x.bin", "constructor": "y.bin"}}`;
  const shardOf = parseIndex(new TextEncoder().encode(hostile), "index.json", ".bin");
  assert.deepEqual([...shardOf], [["__proto__", "x.bin"], ["constructor", "y.bin"]]);
});

test("a folder's safetensors come before its pytorch_model.bin, one file before shards", () =>
  withScratchFolder(async (dir) => {
    const nameIn = async () => {
      const weights = await openModelWeights(dir);
      await weights.close();
      return [...weights.tensors.keys()].join();
    };
    const tensor = (name: string) => [{ name, dtype: "F32" as const, shape: [], bytes: new Uint8Array(4) }];
    await assert.rejects(
      openModelWeights(dir),
      /looked for model.safetensors, model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json/,
    );
    await writeShards(dir, "bin", { a: "model-1.bin", b: "model-2.bin" });
    assert.equal(await nameIn(), "a,b");
    await writeTorchBin(join(dir, "pytorch_model.bin"), tensor("bin"));
    assert.equal(await nameIn(), "bin");
    await writeShards(dir, "safetensors", { a: "model-1.safetensors" });
    assert.equal(await nameIn(), "a");
    await writeSafetensors(join(dir, "model.safetensors"), tensor("safetensors"));
    assert.equal(await nameIn(), "safetensors");
  }));

test("shards that huggingface_hub wrote give, bit for bit, what torch reads from them", async () => {
  const expected = JSON.parse(await readFile(join(GOLDEN, "../expected.json"), "utf8")).folders.sharded;
  const weights = await openModelWeights(GOLDEN);
  assert.equal(weights.tensors.size, expected.length);
  for (const { name, dtype, shape, bytes_hex } of expected) {
    const info = weights.tensors.get(name);
    assert.deepEqual([info?.dtype, info?.shape], [dtype, shape], name);
    assert.equal(Buffer.from(await weights.read(name)).toString("hex"), bytes_hex, name);
  }
  await weights.close();
});

test("a shard that holds more than its index says is refused", () =>
  withScratchFolder(async (dir) => {
    for (const shard of ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]) {
      await copyFile(join(GOLDEN, shard), join(dir, shard));
    }
    const index = JSON.parse(await readFile(join(GOLDEN, INDEX.bin), "utf8"));
    delete index.weight_map["layers.1.weight"];
    await writeFile(join(dir, INDEX.bin), JSON.stringify(index));
    await assert.rejects(openModelWeights(dir), /holds tensor "layers.1.weight".* places in no file/);
  }));

test("the bytes told while tensors are read add up to the source's total", async () => {
  const weights = await openModelWeights(GOLDEN);
  let bytes = 0;
  const source = tensorValues(weights, GOLDEN, (byteLength) => bytes += byteLength);
  for (const name of source.names()) await source.read(name);
  assert.equal(source.totalBytes, 5 * 40 * 8 * 2);
  assert.equal(bytes, source.totalBytes);
  await weights.close();
});

test("a tensor that stands in two shards, or in one that the index does not name for it, is refused", () =>
  withScratchFolder(async (dir) => {
    await writeShards(dir, "safetensors", { a: "model-1.safetensors", b: "model-2.safetensors" });
    const tensor = (name: string) => ({ name, dtype: "F32" as const, shape: [1], bytes: new Uint8Array(4) });
    const second = (...names: string[]) =>
      writeSafetensors(join(dir, "model-2.safetensors"), names.map(tensor));
    await second("a", "b");
    await assert.rejects(
      openModelWeights(dir),
      /model-2\.safetensors holds tensor "a", which the index places in model-1\.safetensors/,
    );
    await second("b", "c");
    await assert.rejects(
      openModelWeights(dir),
      /model-2\.safetensors holds tensor "c", which the index places in no file/,
    );
  }));
