/** pytorch_model.bin: what torch wrote is read bit for bit, and everything else is refused with a reason. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { gatherStrided, isRowMajor, rowMajorStrides, spanOf } from "../../src/io/tensors/strides.ts";
import { stateDictPickle, writeTorchBin } from "../../src/io/torch/writer.ts";
import { openTorchBin, readTorchBin } from "../../src/io/torch/reader.ts";
import { memoryFile, zipOf } from "./memory_file.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const GOLDEN = new URL("../golden/weights_files/", import.meta.url);

interface Expected {
  name: string;
  dtype: string;
  shape: number[];
  bytes_hex: string;
}

async function expectedOf(folder: string): Promise<Expected[]> {
  return JSON.parse(await readFile(new URL("expected.json", GOLDEN), "utf8")).folders[folder];
}

const goldenBytes = async (folder: string) =>
  new Uint8Array(await readFile(new URL(`${folder}/pytorch_model.bin`, GOLDEN)));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const latin1 = (text: string) => new Uint8Array(Buffer.from(text, "latin1"));

for (const folder of ["single", "protocol4"]) {
  test(`every tensor of torch's ${folder}/pytorch_model.bin has the bits torch reads, wholly and in part`, async () => {
    const expected = await expectedOf("single");
    const reader = await readTorchBin(memoryFile(await goldenBytes(folder)));
    assert.deepEqual([...reader.tensors.keys()], expected.map(({ name }) => name));
    for (const { name, dtype, shape, bytes_hex } of expected) {
      const info = reader.tensors.get(name);
      assert.deepEqual([info?.dtype, info?.shape, info?.byteLength], [dtype, shape, bytes_hex.length / 2]);
      assert.equal(hex(await reader.read(name)), bytes_hex, name);
      const begin = Math.floor(bytes_hex.length / 6);
      assert.equal(hex(await reader.read(name, begin)), bytes_hex.slice(2 * begin), name);
      assert.equal(hex(await reader.read(name, 0, begin)), bytes_hex.slice(0, 2 * begin), name);
    }
  });
}

test("reads outside a tensor and of tensors that are not there are refused", async () => {
  const reader = await readTorchBin(memoryFile(await goldenBytes("single")));
  for (const name of ["offset", "transposed"]) {
    const { byteLength } = reader.tensors.get(name)!;
    await assert.rejects(reader.read(name, byteLength - 3, 4), RangeError);
    await assert.rejects(reader.read(name, -1), RangeError);
  }
  await assert.rejects(reader.read("toString"), /Cannot read tensor "toString": 'x.bin' has "model.embed/);
});

test("what writeTorchBin() writes is read back, from a file and with every record in its 64-bit form", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "w.bin");
    const bytes = Uint8Array.from({ length: 48 }, (_, i) => i * 5);
    const tensors = [
      { name: "a", dtype: "F32" as const, shape: [3, 4], bytes },
      { name: "naïve", dtype: "BF16" as const, shape: [2, 1], bytes: bytes.slice(0, 4) },
      { name: "empty", dtype: "F16" as const, shape: [2, 0], bytes: new Uint8Array() },
    ];
    await writeTorchBin(path, tensors);
    const file = await openTorchBin(path);
    const zip64 = await zipOf(
      [["r/data.pkl", stateDictPickle(tensors)], ...tensors.map((t, i) => [`r/data/${i}`, t.bytes] as const)],
      { zip64: true },
    );
    assert.ok(hex(zip64).includes("504b0606"), "a zip64 end record is there");
    for (const reader of [file, await readTorchBin(memoryFile(zip64))]) {
      assert.deepEqual([...reader.tensors.keys()], ["a", "naïve", "empty"]);
      for (const tensor of tensors) assert.deepEqual(await reader.read(tensor.name), tensor.bytes);
    }
    await file.close();
  }));

test("a transposed view is gathered as strides say, whatever its shape", () => {
  const axes = fc.array(fc.record({ size: fc.nat(4), order: fc.nat(9) }), { maxLength: 5 });
  fc.assert(fc.property(axes, fc.constantFrom(1, 2, 4, 8), (list, elementBytes) => {
    // A row-major tensor, its axes permuted: element [i, j, ...] is known from its index alone.
    const order = list.map((_, i) => i).sort((a, b) => list[a].order - list[b].order || a - b);
    const base = list.map(({ size }) => size);
    const strides = order.map((axis) => rowMajorStrides(base)[axis]);
    const shape = order.map((axis) => base[axis]);
    const count = shape.reduce((product, size) => product * size, 1);
    assert.ok(spanOf(shape, strides) === count);
    const source = new Uint8Array(count * elementBytes);
    for (let i = 0; i < count; i++) source.fill(i, i * elementBytes, (i + 1) * elementBytes);
    const gathered = gatherStrided(source, elementBytes, shape, strides);
    for (let i = 0; i < count; i++) {
      let [rest, from] = [i, 0];
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        from += (rest % shape[axis]) * strides[axis];
        rest = Math.floor(rest / shape[axis]);
      }
      assert.equal(gathered[i * elementBytes], from % 256);
    }
    if (isRowMajor(shape, strides)) assert.deepEqual(gathered, source);
  }));
});

const GOOD = stateDictPickle([{ name: "w", dtype: "F32", shape: [2] }]);
const W = new Uint8Array(8);
const DATA: readonly (readonly [string, Uint8Array])[] = [["r/data/0", W]];
const pickle = (text: string) => latin1(`\x80\x02${text}`);
const storageOf = (elements: string) =>
  `(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu${elements}tQ`;
const tensorOf = (rest: string, elements = "K\x02") =>
  pickle(`}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(${storageOf(elements)}${rest}tRs.`);

const REFUSED_PICKLES: [string, Uint8Array, RegExp][] = [
  [
    "os.system",
    pickle("cos\nsystem\n(X\x02\0\0\0idtR."),
    /byte 2, GLOBAL \(0x63\): it names "os system", which is not/,
  ],
  ["builtins.eval", pickle("cbuiltins\neval\n(X\x01\0\0\x001tR."), /names "builtins eval"/],
  ["torch.load", pickle("ctorch\nload\n)R."), /names "torch load"/],
  ["a name from the stack", latin1("\x80\x04\x8c\x02os\x8c\x06system\x93)R."), /STACK_GLOBAL.*"os system"/],
  ["an old-style instance", pickle("(ios\nsystem\n."), /INST \(0x69\): the opcode is not allowed/],
  ["an instance by class", pickle("ccollections\nOrderedDict\n)\x81."), /NEWOBJ \(0x81\): the opcode is not/],
  ["bytes", pickle("C\x01x."), /SHORT_BINBYTES/],
  ["an extension", pickle("\x82\x01."), /EXT1/],
  ["a byte that is no opcode", pickle("\xff."), /0xff: the opcode is not allowed/],
  ["a call of a storage class", pickle("ctorch\nFloatStorage\n)R."), /calls torch FloatStorage/],
  ["a call of a string", pickle("X\x01\0\0\0f)R."), /required a name to call, got "f"/],
  ["other attributes", pickle("}}X\x09\0\0\0__class__Nsb."), /BUILD.*"_metadata"/],
  ["an empty stack", pickle("0."), /POP \(0x30\)/],
  ["nothing", pickle("."), /the stack is empty/],
  ["an open mark", pickle("(N."), /left on the stack/],
  ["two values", pickle("NN."), /left on the stack/],
  ["bytes behind its end", pickle("}.}"), /1 bytes follow the end/],
  ["no end", pickle("}"), /the end: required 1 more bytes/],
  ["a string past its end", pickle("X\x09\0\0\0a"), /required 9 more bytes, 1 are left/],
  ["a string of 4 GB", pickle("X\xff\xff\xff\xffa"), /string of 4294967295 bytes, at most/],
  ["a string that is no UTF-8", pickle("X\x01\0\0\0\xff."), /no UTF-8/],
  ["a number of 255 bytes", pickle("\x8a\xff."), /whole number of 255 bytes/],
  ["a number beyond 2^53", pickle(`\x8a\x08${"\xff".repeat(7)}\x7f.`), /9223372036854775807 is beyond/],
  ["an unknown memo", pickle("h\x05."), /nothing was remembered as 5/],
  ["a key that is no string", pickle("}K\x01Ns."), /required a string as key, got 1/],
  ["a key twice", pickle("}(X\x01\0\0\0aNX\x01\0\0\0aNu."), /"a" is set twice/],
  ["a list at its top", pickle("]."), /EMPTY_LIST/],
  ["a tuple at its top", pickle(")."), /required a dict of tensors, it holds a tuple/],
  ["a dict in its dict", pickle("}X\x05\0\0\0model}s."), /"model" is a dict; save model.state_dict\(\)/],
  ["a storage in its dict", pickle(`}X\x01\0\0\0a${storageOf("K\x02")}s.`), /"a" is a storage or tensor/],
  ["a storage of no kind", pickle("(NNNNNtQ."), /required \("storage", class/],
  [
    "a storage larger than its entry",
    tensorOf("K\0K\x02\x85K\x01\x85\x89}", "K\x03"),
    /takes 12 bytes, its zip has 8/,
  ],
  [
    "a tensor past its storage",
    tensorOf("K\x01K\x02\x85K\x01\x85\x89}"),
    /needs 3 elements, its storage has 2/,
  ],
  ["strides past its storage", tensorOf("K\0K\x02\x85K\x02\x85\x89}"), /needs 3 elements/],
  ["an expanded tensor", tensorOf("K\0J\xff\xff\xff\x7f\x85K\0\x85\x89}"), /needs 2147483647 elements/],
  [
    "a shape beyond any number",
    tensorOf(`K\0(${"J\xff\xff\xff\x7f".repeat(60)}t(${"K\0".repeat(60)}t\x89}`),
    /needs/,
  ],
  [
    "a negative stride",
    tensorOf("K\x01K\x02\x85J\xff\xff\xff\xff\x85\x89}"),
    /whole numbers >= 0 as strides/,
  ],
  ["a negative offset", tensorOf("J\xff\xff\xff\xffK\x01\x85K\x01\x85\x89}"), /required \(storage, offset/],
  ["a size too few", tensorOf("K\0K\x02\x85)\x89}"), /1 sizes but 0 strides/],
  ["65 dimensions", tensorOf(`K\0(${"K\x01".repeat(65)}t)\x89}`), /at most 64 sizes/],
  ["backward hooks", tensorOf("K\0K\x02\x85K\x01\x85\x89}X\x01\0\0\0hNs"), /no backward hooks/],
  ["protocol 1", latin1("\x80\x01}."), /required protocol 2 to 5, got 1/],
  ["a second start", pickle("\x80\x02}."), /at the beginning only/],
];

for (const [what, bytes, message] of REFUSED_PICKLES) {
  test(`a pickle with ${what} is refused with a clear error`, async () => {
    const file = memoryFile(await zipOf([["r/data.pkl", bytes], ...DATA]));
    await assert.rejects(readTorchBin(file), (error: Error) => {
      assert.match(error.message, /^Cannot read 'x\.bin': .*(convert|save|copy)/);
      assert.match(error.message, message);
      return true;
    });
  });
}

test("what a refused pickle is compared with is read: the same by hand, without its fault", async () => {
  const bytes = tensorOf("K\x00K\x02\x85K\x01\x85\x89}");
  const reader = await readTorchBin(memoryFile(await zipOf([["r/data.pkl", bytes], ...DATA])));
  assert.deepEqual(await reader.read("w"), W);
});

/** A good zip with some bytes replaced where `find` begins (the last time). */
async function patched(find: string, offset: number, ...replacement: number[]): Promise<Uint8Array> {
  const bytes = await zipOf([["r/data.pkl", GOOD], ...DATA]);
  bytes.set(replacement, Buffer.from(bytes).lastIndexOf(Buffer.from(find, "latin1")) + offset);
  return bytes;
}
const END = "PK\x05\x06";
const ENTRY = "PK\x01\x02";

const REFUSED_FILES: [string, () => Promise<Uint8Array>, RegExp][] = [
  ["no bytes", () => Promise.resolve(new Uint8Array()), /required a zip file of torch.save\(\)/],
  ["text", () => Promise.resolve(latin1("hello")), /required a zip file of torch.save\(\)/],
  [
    "the format before torch 1.6",
    () => Promise.resolve(latin1("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")),
    /before 1.6.*convert it to safetensors/,
  ],
  [
    "a Git LFS pointer",
    () => Promise.resolve(latin1("version https://git-lfs.github.com/spec/v1")),
    /git lfs pull/,
  ],
  [
    "compression",
    () => zipOf([["r/data.pkl", GOOD], ...DATA], { compress: true }),
    /data.pkl" is compressed/,
  ],
  ["a cut end", async () => (await zipOf([["r/data.pkl", GOOD]])).slice(0, -1), /found no end record/],
  ["no pickle", () => zipOf([["r/other", GOOD]]), /required one entry FOLDER\/data.pkl.*found 0/],
  ["two pickles", () => zipOf([["r/data.pkl", GOOD], ["s/data.pkl", GOOD]]), /found 2/],
  ["a missing storage", () => zipOf([["r/data.pkl", GOOD]]), /storage "0".*no such entry/],
  [
    "big-endian values",
    () => zipOf([["r/data.pkl", GOOD], ["r/byteorder", "big"], ...DATA]),
    /byte order "little"/,
  ],
  ["an encrypted entry", () => patched(ENTRY, 8, 1), /"r\/data\/0" is encrypted/],
  ["a compressed storage", () => patched(ENTRY, 10, 8), /"r\/data\/0" is compressed \(method 8\)/],
  ["a directory elsewhere", () => patched(END, 16, 0), /is required to end at/],
  ["a part of many", () => patched(END, 4, 1), /one part of a zip/],
  ["one entry too many", () => patched(END, 8, 3, 0, 3, 0), /claims 3 entries in 128 bytes/],
  ["one entry too few", () => patched(END, 8, 1, 0, 1, 0), /1 zip entries take/],
  ["a storage past the directory", () => patched(ENTRY, 20, 255, 255, 0, 0, 255, 255, 0, 0), /end before/],
  ["sizes that differ", () => patched(ENTRY, 20, 7, 0, 0, 0), /8 bytes \(7 in the file\)/],
  ["a 64-bit size that is absent", () => patched(ENTRY, 24, 255, 255, 255, 255), /lacks its 64-bit size/],
  ["an entry of another name", () => patched(ENTRY, 46, 113), /storage "0".*no such entry/],
  ["a local header elsewhere", () => patched(ENTRY, 42, 0, 0, 0, 0), /is not at 0, where the zip/],
];

for (const [what, bytes, message] of REFUSED_FILES) {
  test(`a file with ${what} is refused with a clear error`, () =>
    withScratchFolder(async (dir) => {
      const path = join(dir, "pytorch_model.bin");
      await writeFile(path, await bytes());
      await assert.rejects(openTorchBin(path), (error: Error) => {
        assert.ok(error.message.startsWith(`Cannot read '${path}': `), error.message);
        assert.match(error.message, message);
        return true;
      });
    }));
}
