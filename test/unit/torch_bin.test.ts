import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { stateDictPickle, writeTorchBin } from "../../src/io/torch/writer.ts";
import { openTorchBin } from "../../src/io/torch/reader.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { bytes, tensors } from "./torch_bin_tensors.ts";

test("writeTorchBin() makes the file that torch.load(weights_only=True) was seen to read", () =>
  withScratchFolder(async (dir) => {
    const golden = JSON.parse(await readFile(new URL("../golden/torch_bin.json", import.meta.url), "utf8"));
    const path = join(dir, "pytorch_model.bin");
    await writeTorchBin(path, tensors);
    assert.equal((await readFile(path)).toString("base64"), golden.file_base64);
    // What torch read from that very file: the bytes, shapes and dtypes that went in.
    for (const [i, read] of golden.read_by_torch.entries()) {
      const { name, dtype, shape } = tensors[i];
      assert.deepEqual([read.name, read.dtype, read.shape], [name, dtype, shape]);
      assert.equal(read.bytes_hex, Buffer.from(bytes(read.bytes_hex.length / 2)).toString("hex"));
    }
    assert.equal(golden.read_by_torch.length, tensors.length);
  }));

test("the pickle of one tensor is the opcodes worked by hand", () => {
  const pickle = Buffer.from(stateDictPickle([{ name: "w", dtype: "F32", shape: [2, 3] }])).toString(
    "latin1",
  );
  const dict = "ccollections\nOrderedDict\n)R";
  const text = (value: string) => `X${String.fromCharCode(value.length)}\0\0\0${value}`;
  const int = (value: number) => `J${String.fromCharCode(value)}\0\0\0`;
  const storage = `(${text("storage")}ctorch\nFloatStorage\n${text("0")}${text("cpu")}${int(6)}tQ`;
  const tensor = `ctorch._utils\n_rebuild_tensor_v2\n(${storage}${int(0)}(${int(2)}${int(3)}t(${int(3)}${
    int(1)
  }t`;
  assert.equal(pickle, `\x80\x02${dict}(${text("w")}${tensor}\x89${dict}tRu.`);
});

test("sizes from 2^31 on are written as LONG1", () => {
  const pickle = Buffer.from(stateDictPickle([{ name: "w", dtype: "F16", shape: [2 ** 31] }])).toString(
    "hex",
  );
  assert.ok(pickle.includes("8a080000008000000000"));
});

test("sources may fill the same memory one after the other", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "w.bin");
    const memory = new Uint8Array(5 << 20);
    const names = ["a", "b", "c", "d"];
    const fill = (i: number) => () => memory.fill(i + 1);
    await writeTorchBin(
      path,
      names.map((name, i) => ({ name, dtype: "F16", shape: [memory.length / 2], bytes: fill(i) })),
    );
    const reader = await openTorchBin(path);
    for (const [i, name] of names.entries()) {
      assert.ok(Buffer.from(await reader.read(name)).equals(memory.fill(i + 1)), name);
    }
    await reader.close();
  }));

test("a tensor that fails or does not fit stops the write and leaves no file", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "w.bin");
    const [first] = tensors;
    const failing = { ...first, name: "b", bytes: () => Promise.reject(new Error("device lost")) };
    await assert.rejects(writeTorchBin(path, [first, failing]), /device lost/);
    await assert.rejects(writeTorchBin(path, [{ ...first, bytes: bytes(59) }]), /takes 60 bytes, got 59/);
    await assert.rejects(writeTorchBin(path, [first, first]), /"model.embed.weight" twice/);
    assert.deepEqual(await readdir(dir), []);
  }));
