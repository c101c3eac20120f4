// Reads and writes safetensors files: one at a time, and the folder of a model in one file or in shards.
// Tensors are read by position, never the whole file, so files over 4 GiB work.

import { type FileHandle, open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { explainFsError, systemCode, writeFileAtomic, writeFully } from "./atomic_files.ts";
import { BYTES_PER_ELEMENT, type FloatDtype } from "./dtype.ts";
import {
  buildHeader,
  byteLengthOf,
  formatError,
  headerLengthOf,
  parseHeader,
  type TensorInfo,
} from "./safetensors_header.ts";

export type { TensorInfo } from "./safetensors_header.ts";

/** Open weights: what is there, and the bytes on demand. Little-endian, row-major. */
export interface TensorReader {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * Bytes of one tensor, or `length` of them from `offset` on (both in bytes).
   * Throws RangeError for an unknown name or a range outside the tensor, Error when the file shrank.
   */
  read(name: string, offset?: number, length?: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Opens one file and checks its header wholly. Throws Error naming file, tensor, required, actual and remedy. */
export async function openSafetensors(path: string): Promise<TensorReader> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    throw explainFsError(error, "read", path);
  }
  try {
    const { size, isFile } = await handle.stat().then((stats) => ({
      size: stats.size,
      isFile: stats.isFile(),
    }));
    if (!isFile) throw formatError(path, "required a file, got a folder or device; correct the path");
    const prefix = await readAt(handle, 0, Math.min(8, size), path);
    const headerLength = headerLengthOf(prefix, size, path);
    const bufferStart = 8 + headerLength;
    const header = parseHeader(await readAt(handle, 8, headerLength, path), size - bufferStart, path);
    return {
      tensors: header.tensors,
      metadata: header.metadata,
      read: async (name, offset = 0, length) => {
        const place = header.tensors.get(name);
        if (place === undefined) throw unknownTensor(name, path, header.tensors.keys());
        const wanted = length ?? place.byteLength - offset;
        if (
          !(Number.isSafeInteger(offset) && Number.isSafeInteger(wanted) && offset >= 0 && wanted >= 0) ||
          offset + wanted > place.byteLength
        ) {
          throw new RangeError(
            `Cannot read ${wanted} bytes at ${offset} of tensor "${name}": it has ${place.byteLength} bytes`,
          );
        }
        return await readAt(handle, bufferStart + place.begin + offset, wanted, path);
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function readAt(
  handle: FileHandle,
  position: number,
  length: number,
  path: string,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  const step = 2 ** 30; // one call of read(2) moves at most 2 GiB - 4 KiB
  for (let done = 0; done < length;) {
    const { bytesRead } = await handle.read(bytes, done, Math.min(step, length - done), position + done);
    if (bytesRead === 0) {
      throw formatError(
        path,
        `required ${length} bytes at ${position}, file ended after ${done}; it changed`,
      );
    }
    done += bytesRead;
  }
  return bytes;
}

function unknownTensor(name: string, path: string, names: Iterable<string>): RangeError {
  const some = [...names].slice(0, 5).map((known) => `"${known}"`).join(", ") || "no tensors";
  return new RangeError(`Cannot read tensor "${name}": '${path}' has ${some}, ...`);
}

/**
 * Opens the weights in a model folder: model.safetensors, else the shards of model.safetensors.index.json.
 * Throws Error listing what was looked for, the missing shards, or where index and shards disagree.
 */
export async function openModelWeights(dir: string): Promise<TensorReader> {
  const single = join(dir, "model.safetensors");
  const index = join(dir, "model.safetensors.index.json");
  if (await exists(single)) return await openSafetensors(single);
  if (await exists(index)) return await openShards(dir, index);
  throw new Error(
    `Cannot load weights from '${dir}': looked for model.safetensors and model.safetensors.index.json, found ` +
      `neither; give the folder of a Hugging Face model in safetensors format`,
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw explainFsError(error, "look for", path);
  }
}

async function openShards(dir: string, indexPath: string): Promise<TensorReader> {
  const shardOf = parseIndex(await readFile(indexPath), indexPath);
  const files = [...new Set(shardOf.values())].sort();
  const missing: string[] = [];
  for (const file of files) if (!(await exists(join(dir, file)))) missing.push(file);
  if (missing.length > 0) {
    throw formatError(
      indexPath,
      `${missing.length} of its ${files.length} shards are missing: ${missing.slice(0, 5).join(", ")}; ` +
        `download them into '${dir}'`,
    );
  }
  const shards = new Map<string, TensorReader>();
  const close = async () => {
    for (const shard of shards.values()) await shard.close();
  };
  try {
    for (const file of files) shards.set(file, await openSafetensors(join(dir, file)));
    const tensors = mergeShards(shards, shardOf, indexPath);
    return {
      tensors,
      metadata: shards.get(files[0])?.metadata ?? {},
      read: async (name, offset, length) => {
        const shard = shards.get(shardOf.get(name) ?? "");
        if (shard === undefined) throw unknownTensor(name, indexPath, shardOf.keys());
        return await shard.read(name, offset, length);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function parseIndex(bytes: Uint8Array, path: string): Map<string, string> {
  let weightMap: unknown;
  try {
    const parsed: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    weightMap = (parsed as { weight_map?: unknown } | null)?.weight_map;
  } catch (cause) {
    throw formatError(path, `required valid JSON (${cause instanceof Error ? cause.message : cause})`);
  }
  if (typeof weightMap !== "object" || weightMap === null || Array.isArray(weightMap)) {
    throw formatError(path, `required "weight_map" with the file of each tensor; download the index again`);
  }
  const shardOf = new Map<string, string>();
  for (const [name, file] of Object.entries(weightMap)) {
    // A shard is a file beside its index; anything else could read outside the folder.
    if (typeof file !== "string" || !/^[^/\\\0]+\.safetensors$/.test(file)) {
      throw formatError(
        path,
        `"weight_map" of tensor "${name}" is required to name a .safetensors file beside it`,
      );
    }
    shardOf.set(name, file);
  }
  if (shardOf.size === 0) throw formatError(path, `"weight_map" names no tensor; download the index again`);
  return shardOf;
}

/** One map of all tensors; index and shards must agree in both directions. */
function mergeShards(
  shards: ReadonlyMap<string, TensorReader>,
  shardOf: ReadonlyMap<string, string>,
  indexPath: string,
): Map<string, TensorInfo> {
  const merged = new Map<string, TensorInfo>();
  for (const [name, file] of shardOf) {
    const info = shards.get(file)?.tensors.get(name);
    if (info === undefined) {
      throw formatError(indexPath, `it places tensor "${name}" in ${file}, which lacks it`);
    }
    merged.set(name, info);
  }
  for (const [file, shard] of shards) {
    for (const name of shard.tensors.keys()) {
      if (shardOf.get(name) !== file) {
        throw formatError(
          indexPath,
          `${file} holds tensor "${name}", which the index places in ${shardOf.get(name) ?? "no file"}`,
        );
      }
    }
  }
  return merged;
}

/** A tensor to write. A function as `bytes` is called in its turn, so that one tensor is in memory at a time. */
export interface TensorSource {
  readonly name: string;
  readonly dtype: FloatDtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array | (() => Uint8Array | Promise<Uint8Array>);
}

/** Size a source must have. Throws RangeError for a shape that is none. */
export function sourceByteLength(source: TensorSource): number {
  const byteLength = byteLengthOf(source.dtype, source.shape);
  if (byteLength === undefined || !source.shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
    throw new RangeError(`Cannot write tensor "${source.name}": shape [${source.shape}] is no shape`);
  }
  return byteLength;
}

/** Bytes of a source, checked against its shape. Throws RangeError when they differ. */
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
 * Throws Error for a name given twice, RangeError for bytes that do not fit a shape, explained file errors.
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
