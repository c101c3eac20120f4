// Reads and writes single safetensors files.
// Tensors are read by position, never the whole file, so files over 4 GiB work.

import { writeFileAtomic, writeFully } from "../files/atomic_files.ts";
import { BYTES_PER_ELEMENT, type FloatDtype } from "./dtype.ts";
import { openFileBytes } from "../files/file_bytes.ts";
import { LFS_PROBE_BYTES, refuseLfsPointer } from "../files/lfs_pointer.ts";
import { buildHeader, byteLengthOf, headerLengthOf, parseHeader } from "./safetensors_header.ts";
import { checkedLength, type TensorReader, unknownTensor } from "./tensor_reader.ts";

/**
 * Opens one file and checks its header wholly.
 * @throws Error when it breaks the format; it names file, tensor, required, actual and remedy
 */
export async function openSafetensors(path: string): Promise<TensorReader> {
  const file = await openFileBytes(path);
  try {
    refuseLfsPointer(await file.read(0, Math.min(LFS_PROBE_BYTES, file.size)), path);
    const headerLength = headerLengthOf(await file.read(0, Math.min(8, file.size)), file.size, path);
    const bufferStart = 8 + headerLength;
    const { tensors, metadata } = parseHeader(
      await file.read(8, headerLength),
      file.size - bufferStart,
      path,
    );
    return {
      tensors,
      metadata,
      read: async (name, offset = 0, length) => {
        const place = tensors.get(name);
        if (place === undefined) throw unknownTensor(name, path, tensors.keys());
        const wanted = checkedLength(name, place, offset, length);
        return await file.read(bufferStart + place.begin + offset, wanted);
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** A tensor to write. A function as `bytes` is called in its turn, so that one tensor is in memory at a time. */
export interface TensorSource {
  readonly name: string;
  readonly dtype: FloatDtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array | (() => Uint8Array | Promise<Uint8Array>);
}

/**
 * Size a source must have.
 * @throws RangeError when its shape is none
 */
export function sourceByteLength(source: TensorSource): number {
  const byteLength = byteLengthOf(source.dtype, source.shape);
  if (byteLength === undefined || !source.shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw new RangeError(`Cannot write tensor "${source.name}": shape [${source.shape}] is no shape`);
  }
  return byteLength;
}

/**
 * Bytes of a source, checked against its shape.
 * @throws RangeError when they differ
 */
export async function sourceBytes(source: TensorSource): Promise<Uint8Array> {
  const bytes = typeof source.bytes === "function" ? await source.bytes() : source.bytes;
  const required = sourceByteLength(source);
  if (bytes.byteLength !== required) {
    throw new RangeError(
      `Cannot write tensor "${source.name}": ${source.dtype} of shape [${source.shape}] takes ${required} bytes, ` +
        `got ${bytes.byteLength}`,
    );
  }
  return bytes;
}

/**
 * Writes a file that appears whole or not at all. Tensors are ordered by element size, largest first, then by
 * name, so that each starts aligned and the same tensors always give the same bytes.
 * @throws RangeError when bytes do not fit a shape
 * @throws Error when a name is given twice or the file cannot be written
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorSource>,
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): Promise<void> {
  const size = (source: TensorSource) => BYTES_PER_ELEMENT[source.dtype];
  const ordered = [...tensors].sort((a, b) => size(b) - size(a) || (a.name < b.name ? -1 : 1));
  const header = buildHeader(
    ordered.map((source) => [source.name, { ...source, byteLength: sourceByteLength(source) }]),
    metadata,
  );
  await writeFileAtomic(path, async (handle) => {
    await writeFully(handle, header);
    for (const source of ordered) await writeFully(handle, await sourceBytes(source));
  });
}
