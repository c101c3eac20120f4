// Writes pytorch_model.bin: the zip of torch.save, readable by torch.load(weights_only=True).
//
//   archive/data.pkl      pickle (protocol 2) of OrderedDict{name: _rebuild_tensor_v2(storage i, 0, shape, strides)}
//   archive/byteorder     "little"
//   archive/data/<i>      raw bytes of tensor i, stored without compression
//   archive/version       "3"
// Source: torch/csrc/jit/serialization/inline_container.h, torch/_weights_unpickler.py, Python's pickletools

import { Readable } from "node:stream";
import { ZipFile } from "yazl";
import { writeFileAtomic, writeFully } from "../files/atomic_files.ts";
import { BYTES_PER_ELEMENT, type FloatDtype } from "../tensors/dtype.ts";
import { OPCODES } from "./pickle_opcodes.ts";
import { sourceByteLength, sourceBytes, type TensorSource } from "../tensors/safetensors.ts";
import { rowMajorStrides } from "../tensors/strides.ts";

const STORAGE_CLASS: Readonly<Record<FloatDtype, string>> = {
  F32: "FloatStorage",
  BF16: "BFloat16Storage",
  F16: "HalfStorage",
};

const {
  BININT,
  BINPERSID,
  BINUNICODE,
  EMPTY_TUPLE,
  GLOBAL,
  LONG1,
  MARK,
  NEWFALSE,
  PROTO,
  REDUCE,
  SETITEMS,
  STOP,
  TUPLE,
} = OPCODES;

/** What the pickle needs to know of a tensor. */
type TensorShape = Pick<TensorSource, "name" | "dtype" | "shape">;

/**
 * Writes the tensors as a state dict, in the given order; appears whole or not at all, same input same bytes.
 * @throws RangeError when bytes do not fit a shape
 * @throws Error when a name is given twice or the file cannot be written
 */
export async function writeTorchBin(path: string, tensors: Iterable<TensorSource>): Promise<void> {
  const sources = [...tensors];
  const names = new Set<string>();
  for (const { name } of sources) {
    if (names.has(name)) throw new Error(`Cannot write tensor "${name}" twice into '${path}'; rename one`);
    names.add(name);
  }
  // A fixed time keeps the file the same from run to run; 1980 is the first a zip can hold.
  const entryOptions = {
    compress: false,
    mtime: new Date(1980, 0, 1),
    mode: 0o100644,
    forceDosTimestamp: true,
  };
  const zip = new ZipFile();
  zip.addBuffer(Buffer.from(stateDictPickle(sources)), "archive/data.pkl", entryOptions);
  zip.addBuffer(Buffer.from("little"), "archive/byteorder", entryOptions);
  sources.forEach((source, i) => {
    zip.addReadStreamLazy(
      `archive/data/${i}`,
      { ...entryOptions, size: sourceByteLength(source) },
      (callback) => {
        sourceBytes(source).then(
          (bytes) => callback(null, Readable.from(chunksOf(bytes))),
          (error) => callback(error, Readable.from([])),
        );
      },
    );
  });
  zip.addBuffer(Buffer.from("3\n"), "archive/version", entryOptions);
  zip.end();
  const output = zip.outputStream as Readable;
  zip.on("error", (error: unknown) => output.destroy(error as Error));
  output.on("error", () => undefined); // may come before the loop below listens, which throws it anyway
  await writeFileAtomic(path, async (handle) => {
    for await (const chunk of output) await writeFully(handle, chunk as Uint8Array);
  });
}

/** Copies: the stream holds some of them back while the next source may fill the same memory again. */
function* chunksOf(bytes: Uint8Array): Generator<Uint8Array> {
  const size = 1 << 20;
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size);
}

/** Pickle of the state dict; storage i holds tensor i. */
export function stateDictPickle(tensors: readonly TensorShape[]): Uint8Array {
  const out: number[] = [];
  const text = (value: string) => {
    const utf8 = new TextEncoder().encode(value);
    out.push(BINUNICODE, ...littleEndian(BigInt(utf8.length), 4));
    for (const byte of utf8) out.push(byte);
  };
  const global = (module: string, name: string) => {
    out.push(GLOBAL, ...new TextEncoder().encode(`${module}\n${name}\n`));
  };
  const tuple = (values: readonly number[]) => {
    out.push(MARK);
    for (const value of values) out.push(...integer(value));
    out.push(TUPLE);
  };
  const emptyOrderedDict = () => {
    global("collections", "OrderedDict");
    out.push(EMPTY_TUPLE, REDUCE);
  };
  out.push(PROTO, 2);
  emptyOrderedDict();
  out.push(MARK);
  tensors.forEach(({ name, dtype, shape }, i) => {
    text(name);
    global("torch._utils", "_rebuild_tensor_v2");
    out.push(MARK, MARK); // arguments of the rebuild; the storage's persistent id
    text("storage");
    global("torch", STORAGE_CLASS[dtype]);
    text(String(i));
    text("cpu");
    out.push(
      ...integer(
        sourceByteLength({ name, dtype, shape, bytes: new Uint8Array() }) / BYTES_PER_ELEMENT[dtype],
      ),
    );
    out.push(TUPLE, BINPERSID, ...integer(0));
    tuple(shape);
    tuple(rowMajorStrides(shape));
    out.push(NEWFALSE); // requires_grad
    emptyOrderedDict(); // backward hooks
    out.push(TUPLE, REDUCE);
  });
  out.push(SETITEMS, STOP);
  return Uint8Array.from(out);
}

/** A whole number >= 0: BININT holds 31 bits, LONG1 the rest as 8 bytes of two's complement. */
function integer(value: number): number[] {
  if (value < 2 ** 31) return [BININT, ...littleEndian(BigInt(value), 4)];
  return [LONG1, 8, ...littleEndian(BigInt(value), 8)];
}

function littleEndian(value: bigint, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
}
