import assert from "node:assert/strict";
import { mkdir, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { openSafetensors, type TensorSource, writeSafetensors } from "../../src/io/tensors/safetensors.ts";
import { tensorValues } from "../../src/io/model/model_folder.ts";
import { headerLengthOf, parseHeader } from "../../src/io/tensors/safetensors_header.ts";
import { withScratchFolder } from "./scratch_folder.ts";

/** A file from a JSON header (text or value) and a number of zero bytes behind it. */
function fileOf(header: unknown, bufferSize: number, promisedLength?: bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + bufferSize);
  new DataView(bytes.buffer).setBigUint64(0, promisedLength ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

/** Reads a header from memory the way the file reader does. */
function parse(bytes: Uint8Array) {
  const length = headerLengthOf(bytes.subarray(0, 8), bytes.length, "x.safetensors");
  return parseHeader(bytes.subarray(8, 8 + length), bytes.length - 8 - length, "x.safetensors");
}

const f32 = (shape: unknown, data_offsets: unknown) => ({ dtype: "F32", shape, data_offsets });

test("writeSafetensors() then openSafetensors() gives names, shapes, dtypes and bytes back, wholly and in part", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "w.safetensors");
    const bytes = Uint8Array.from({ length: 24 }, (_, i) => i);
    await writeSafetensors(path, [
      { name: "half", dtype: "F16", shape: [3], bytes: bytes.slice(0, 6) },
      { name: "7", dtype: "F32", shape: [2, 3], bytes: () => Promise.resolve(bytes) },
      { name: "__proto__", dtype: "BF16", shape: [], bytes: bytes.slice(0, 2) },
      { name: "empty", dtype: "F32", shape: [0, 5], bytes: new Uint8Array() },
    ]);
    const reader = await openSafetensors(path);
    assert.deepEqual(reader.metadata, { format: "pt" });
    assert.deepEqual([...reader.tensors.keys()].sort(), ["7", "__proto__", "empty", "half"]);
    assert.deepEqual(reader.tensors.get("7")?.shape, [2, 3]);
    assert.deepEqual(await reader.read("7"), bytes);
    assert.deepEqual(await reader.read("7", 5, 3), Uint8Array.of(5, 6, 7));
    assert.deepEqual(await reader.read("half"), bytes.slice(0, 6));
    assert.equal((await reader.read("empty")).length, 0);
    await assert.rejects(reader.read("7", 20, 5), /5 bytes at 20 of tensor "7": it has 24 bytes/);
    await assert.rejects(reader.read("7", -1), RangeError);
    await assert.rejects(reader.read("gone"), /tensor "gone"/);
    await reader.close();
    assert.deepEqual(await readdir(dir), ["w.safetensors"]);
  }));

test("whole numbers and masks may lie beside the weights, and are not read as weights", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "w.safetensors");
    const header = {
      count: { dtype: "I64", shape: [1], data_offsets: [0, 8] },
      w: f32([1], [8, 12]),
      mask: { dtype: "BOOL", shape: [3], data_offsets: [12, 15] },
    };
    await writeFile(path, fileOf(header, 15));
    const reader = await openSafetensors(path);
    const values = tensorValues(reader, path);
    assert.deepEqual(await values.read("w"), new Float32Array(1));
    assert.equal(values.formatOf("count"), "f32");
    await assert.rejects(values.read("count"), /tensor "count" has dtype I64, required F32, BF16 or F16/);
    await reader.close();
  }));

test("writeSafetensors() makes, byte for byte, the file Python's safetensors makes", () =>
  withScratchFolder(async (dir) => {
    const golden = JSON.parse(
      await readFile(new URL("../golden/safetensors_file.json", import.meta.url), "utf8"),
    );
    const path = join(dir, "w.safetensors");
    const tensors: TensorSource[] = golden.tensors.map((t: { bytes_hex: string }) => ({
      ...t,
      bytes: Buffer.from(t.bytes_hex, "hex"),
    }));
    await writeSafetensors(path, tensors);
    assert.equal((await readFile(path)).toString("hex"), golden.file_hex);
  }));

test("the same tensors in any order give the same file", () =>
  withScratchFolder(async (dir) => {
    const tensors: TensorSource[] = ["b", "a", "c"].map((name, i) => ({
      name,
      dtype: i === 1 ? "BF16" : "F32",
      shape: [1],
      bytes: new Uint8Array(i === 1 ? 2 : 4).fill(i),
    }));
    await writeSafetensors(join(dir, "1"), tensors);
    await writeSafetensors(join(dir, "2"), [...tensors].reverse());
    assert.deepEqual(await readFile(join(dir, "1")), await readFile(join(dir, "2")));
  }));

test("writeSafetensors() refuses a name given twice and bytes that do not fit, and leaves no file", () =>
  withScratchFolder(async (dir) => {
    const tensor: TensorSource = { name: "a", dtype: "F32", shape: [2], bytes: new Uint8Array(8) };
    const path = join(dir, "w");
    await assert.rejects(writeSafetensors(path, [tensor, tensor]), /"a"/);
    await assert.rejects(writeSafetensors(path, [{ ...tensor, shape: [3] }]), /takes 12 bytes, got 8/);
    await assert.rejects(writeSafetensors(path, [{ ...tensor, shape: [-2] }]), RangeError);
    assert.deepEqual(await readdir(dir), []);
  }));

const HOSTILE: [string, Uint8Array, RegExp][] = [
  ["no bytes", new Uint8Array(0), /at least 8 bytes, file has 0 bytes/],
  [
    "a header length past the end",
    fileOf("{}", 0, 1_234_567n),
    /truncated.*1,234,567 bytes.*file has 10 bytes/,
  ],
  ["a header length of 2^63", fileOf("{}", 0, 2n ** 63n), /promise a header of 9223372036854775808 bytes/],
  ["a header length of 0", fileOf("", 0), /begin with "\{"/],
  ["broken JSON", fileOf('{"a":', 0), /no valid JSON/],
  ["an array as header", fileOf("[]", 0), /begin with "\{"/],
  ["no UTF-8", Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff, 0x7d), /required to be UTF-8/],
  ["a tensor that is no object", fileOf({ a: 1 }, 0), /"a" has dtype undefined/],
  [
    "an unknown dtype",
    fileOf({ a: { ...f32([2], [0, 1]), dtype: "F4" } }, 1),
    /"a" has dtype "F4", required F64, F32, BF16, F16 or an 8-bit float/,
  ],
  [
    "a dtype named as an object method",
    fileOf({ a: { ...f32([1], [0, 4]), dtype: "toString" } }, 4),
    /dtype/,
  ],
  ["a negative size", fileOf({ a: f32([-1], [0, 4]) }, 4), /shape \[-1\]/],
  ["a size that is no whole number", fileOf({ a: f32([0.5], [0, 2]) }, 2), /shape \[0.5\]/],
  [
    "a shape whose product overflows",
    fileOf({ a: f32([2 ** 40, 2 ** 40], [0, 4]) }, 4),
    /more than 2\^53 bytes/,
  ],
  ["a shape that does not fit its bytes", fileOf({ a: f32([3], [0, 8]) }, 8), /takes 12 bytes.*give 8/],
  ["offsets the wrong way", fileOf({ a: f32([1], [4, 0]) }, 4), /begin <= end/],
  ["offsets past the end", fileOf({ a: f32([1000], [0, 4000]) }, 96), /truncated.*4,000 bytes.*96 bytes/],
  [
    "overlapping tensors",
    fileOf({ a: f32([2], [0, 8]), b: f32([2], [4, 12]) }, 12),
    /"b" at 4 overlaps tensor "a"/,
  ],
  ["a hole", fileOf({ a: f32([1], [0, 4]), b: f32([1], [8, 12]) }, 12), /"b" at 8 leaves a hole of 4 bytes/],
  ["bytes no tensor owns", fileOf({ a: f32([1], [0, 4]) }, 9), /promises 4 bytes.*has 9 bytes/],
  [
    "a tensor twice",
    fileOf('{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"\\u0061":{}}', 0),
    /holds the key "a" twice/,
  ],
  ["metadata that is no string", fileOf({ __metadata__: { a: 1 } }, 0), /map strings to strings/],
];

for (const [what, bytes, message] of HOSTILE) {
  test(`a file with ${what} is refused with a clear error`, () =>
    withScratchFolder(async (dir) => {
      const path = join(dir, "bad.safetensors");
      await writeFile(path, bytes);
      await assert.rejects(openSafetensors(path), (error: Error) => {
        assert.ok(error.message.startsWith(`Cannot read '${path}': `), error.message);
        assert.match(error.message, message);
        return true;
      });
    }));
}

test("metadata that is null is none, as some writers put it", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "null.safetensors");
    await writeFile(path, fileOf({ __metadata__: null, a: f32([1], [0, 4]) }, 4));
    const reader = await openSafetensors(path);
    assert.deepEqual([[...reader.tensors.keys()], reader.metadata], [["a"], {}]);
    await reader.close();
  }));

test("braces, quotes and colons inside names do not confuse the search for names given twice", () => {
  const tricky = {
    '{"a":': f32([0], [0, 0]),
    '"}{': f32([0], [0, 0]),
    "\\": f32([0], [0, 0]),
    a: f32([0], [0, 0]),
  };
  assert.equal(parse(fileOf(tricky, 0)).tensors.size, 4);
});

test("whatever bytes come, the header parser returns or throws an Error that names the file", () => {
  const entry = fc.record({
    dtype: fc.oneof(fc.constantFrom("F32", "F16", "BF16", "I8"), fc.jsonValue()),
    shape: fc.oneof(fc.array(fc.oneof(fc.nat(9), fc.integer(), fc.double())), fc.jsonValue()),
    data_offsets: fc.oneof(fc.tuple(fc.nat(40), fc.nat(40)), fc.jsonValue()),
  }, { requiredKeys: [] });
  const header = fc.oneof(
    fc.dictionary(
      fc.string(),
      fc.oneof({ weight: 4, arbitrary: entry }, fc.jsonValue() as fc.Arbitrary<unknown>),
    ),
    fc.string(),
  );
  const bytes = fc.oneof(
    fc.tuple(header, fc.nat(64)).map(([json, size]) => fileOf(json, size)),
    fc.tuple(header, fc.nat(64), fc.bigInt(0n, 2n ** 64n - 1n)).map(([json, size, n]) =>
      fileOf(json, size, n)
    ),
    fc.uint8Array({ maxLength: 64 }),
  );
  fc.assert(
    fc.property(bytes, (file) => {
      try {
        for (const { byteLength, begin } of parse(file).tensors.values()) {
          assert.ok(begin + byteLength <= file.length);
        }
      } catch (error) {
        assert.equal((error as Error).constructor, Error);
        assert.match((error as Error).message, /^Cannot read 'x\.safetensors': /);
      }
    }),
    { numRuns: 2000 },
  );
});

test("a good file with one byte changed or its end cut is read or refused, never misread past its end", () => {
  const good = fileOf({ a: f32([2], [0, 8]), b: f32([1], [8, 12]), __metadata__: { format: "pt" } }, 12);
  fc.assert(fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (at, byte, cut) => {
    const file = good.slice(0, cut);
    if (at < cut) file[at] = byte;
    try {
      for (const { byteLength, begin } of parse(file).tensors.values()) {
        assert.ok(begin + byteLength <= file.length);
      }
    } catch (error) {
      assert.match((error as Error).message, /^Cannot read 'x\.safetensors': /);
    }
  }));
});

test("a file that is cut while open fails its next read instead of giving zeros", () =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "w");
    await writeSafetensors(path, [{ name: "a", dtype: "F32", shape: [100], bytes: new Uint8Array(400) }]);
    const reader = await openSafetensors(path);
    await truncate(path, 200);
    await assert.rejects(reader.read("a"), /file ended after/);
    await reader.close();
    await mkdir(join(dir, "folder"));
    await assert.rejects(openSafetensors(join(dir, "folder")), /required a file|it is a folder/);
    await assert.rejects(openSafetensors(join(dir, "gone")), /does not exist \(ENOENT\)/);
  }));
