/** Files over 4 GiB, made of holes: offsets of more than 32 bits, read and written. */
import assert from "node:assert/strict";
import { type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { openSafetensors } from "../../src/io/tensors/safetensors.ts";
import { buildHeader } from "../../src/io/tensors/safetensors_header.ts";
import { stateDictPickle } from "../../src/io/torch/writer.ts";
import { openTorchBin } from "../../src/io/torch/reader.ts";
import { withScratchFolder } from "./scratch_folder.ts";
import { leftOut } from "../left_out.ts";

const GIB = 2 ** 30;
const VALUES = Float32Array.of(1, -2.5, 3e-9, 4e9);
const BYTES = new Uint8Array(VALUES.buffer);
/** A tensor of 4.5 GiB and one of 16 bytes behind it. */
const HUGE = { name: "huge", dtype: "BF16" as const, shape: [2.25 * GIB], byteLength: 4.5 * GIB };
const LAST = { name: "last", dtype: "F32" as const, shape: [4], byteLength: 16 };

/** Makes a file of `size` bytes that takes none of the disk. Where that cannot be, the test is skipped and says so. */
async function makeSparse(t: TestContext, path: string, size: number): Promise<FileHandle | undefined> {
  const handle = await open(path, "wx");
  try {
    await handle.truncate(size);
  } catch (error) {
    await handle.close();
    t.skip(leftOut(t.name, `no file of ${size} bytes can be made here: ${(error as Error).message}`));
    return undefined;
  }
  const { blocks } = await stat(path);
  if (blocks * 512 < 2 ** 20) return handle;
  await handle.close();
  t.skip(leftOut(t.name, "the file system has no sparse files"));
  return undefined;
}

const put = (handle: FileHandle, bytes: Uint8Array, position: number) =>
  handle.write(bytes, 0, bytes.length, position);

test("a safetensors file of 4.5 GiB gives the values at its end", (t) =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "model.safetensors");
    const header = buildHeader([[HUGE.name, HUGE], [LAST.name, LAST]], {});
    const handle = await makeSparse(t, path, header.length + HUGE.byteLength + LAST.byteLength);
    if (handle === undefined) return;
    await put(handle, header, 0);
    await put(handle, BYTES, header.length + 4 * GIB + 6);
    await put(handle, BYTES, header.length + HUGE.byteLength);
    await handle.close();
    const reader = await openSafetensors(path);
    assert.deepEqual(await reader.read("huge", 4 * GIB + 6, 16), BYTES);
    assert.deepEqual(await reader.read("huge", 6, 16), new Uint8Array(16), "not the same place modulo 2^32");
    assert.deepEqual(await reader.read("last"), BYTES);
    await reader.close();
  }));

const ZIP64 = 0xffffffff;

/** A record from its fields: [bytes, value] little-endian, or bytes as they are. */
function record(...fields: ([size: number, value: number] | Uint8Array)[]): Uint8Array {
  return new Uint8Array(Buffer.concat(fields.map((field) => {
    if (field instanceof Uint8Array) return field;
    const bytes = new DataView(new ArrayBuffer(8));
    bytes.setBigUint64(0, BigInt(field[1]), true);
    return new Uint8Array(bytes.buffer, 0, field[0]);
  })));
}

interface Entry {
  name: Uint8Array;
  size: number;
  position: number;
}

const localHeader = ({ name }: Entry) =>
  record(
    [4, 0x04034b50],
    [2, 45],
    [2, 8],
    [2, 0],
    [8, 0],
    [4, ZIP64],
    [4, ZIP64],
    [2, name.length],
    [2, 0],
    name,
  );

/** With 64-bit sizes only where they are needed, as zip writers do: so each set of fields comes up. */
function centralHeader({ name, size, position }: Entry): Uint8Array {
  const wide = [size, size, position].filter((value) => value >= ZIP64);
  const low = (value: number): [number, number] => [4, Math.min(value, ZIP64)];
  const extra = wide.length === 0
    ? new Uint8Array()
    : record([2, 1], [2, 8 * wide.length], ...wide.map((value): [number, number] => [8, value]));
  return record(
    ...[[4, 0x02014b50], [2, 45], [2, 45], [2, 8], [2, 0], [8, 0], low(size), low(size)] as [
      number,
      number,
    ][],
    ...[[2, name.length], [2, extra.length], [2, 0], [2, 0], [2, 0], [4, 0], low(position)] as [
      number,
      number,
    ][],
    name,
    extra,
  );
}

function endRecords(count: number, size: number, position: number): Uint8Array {
  return record(
    ...[[4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], [8, count], [8, count]] as [
      number,
      number,
    ][],
    ...[[8, size], [8, position]] as [number, number][],
    ...[[4, 0x07064b50], [4, 0], [8, position + size], [4, 1]] as [number, number][],
    ...[[4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, size], [4, ZIP64], [2, 0]] as [
      number,
      number,
    ][],
  );
}

test("a pytorch_model.bin of 4.5 GiB gives the values at its end", (t) =>
  withScratchFolder(async (dir) => {
    const path = join(dir, "pytorch_model.bin");
    const pickle = stateDictPickle([HUGE, LAST]);
    const entries: Entry[] = [];
    let end = 0;
    const add = (name: string, size: number) => {
      const entry = { name: new TextEncoder().encode(`archive/${name}`), size, position: end };
      entries.push(entry);
      end += localHeader(entry).length + size;
      return end - size;
    };
    const places = [
      [add("data.pkl", pickle.length), pickle],
      [add("data/0", HUGE.byteLength) + 4 * GIB + 6, BYTES],
      [add("data/1", LAST.byteLength), BYTES],
      [add("version", 2), new TextEncoder().encode("3\n")],
    ] as const;
    const directory = new Uint8Array(Buffer.concat(entries.map(centralHeader)));
    const tail = endRecords(entries.length, directory.length, end);
    const handle = await makeSparse(t, path, end + directory.length + tail.length);
    if (handle === undefined) return;
    for (const entry of entries) await put(handle, localHeader(entry), entry.position);
    for (const [position, bytes] of places) await put(handle, bytes, position);
    await put(handle, directory, end);
    await put(handle, tail, end + directory.length);
    await handle.close();
    const reader = await openTorchBin(path);
    assert.deepEqual(reader.tensors.get("huge")?.shape, HUGE.shape);
    assert.deepEqual(await reader.read("huge", 4 * GIB + 6, 16), BYTES);
    assert.deepEqual(await reader.read("huge", 6, 16), new Uint8Array(16));
    assert.deepEqual(await reader.read("last"), BYTES);
    await reader.close();
  }));
