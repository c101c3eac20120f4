// Reads pytorch_model.bin, the zip of torch.save() since torch 1.6 (layout: torch_bin.ts), tensor by tensor.
// Its pickle is read by an allow-list (state_dict.ts, pickle_reader.ts); nothing in the file is run.

import { BYTES_PER_ELEMENT } from "../tensors/dtype.ts";
import { type FileBytes, openFileBytes } from "../files/file_bytes.ts";
import { byteLengthOf } from "../tensors/safetensors_header.ts";
import { formatError } from "../files/errors.ts";
import { LFS_PROBE_BYTES, refuseLfsPointer } from "../files/lfs_pointer.ts";
import { readStateDict, type TorchStorage, type TorchTensor } from "./state_dict.ts";
import { gatherStrided, isRowMajor, spanOf } from "../tensors/strides.ts";
import {
  checkedLength,
  type TensorInfo,
  type TensorReader,
  unknownTensor,
} from "../tensors/tensor_reader.ts";
import { dataPosition, readZipDirectory, type ZipDirectory } from "./zip_reader.ts";

/** Largest pickle, in bytes; one of 18,000 tensors has about 3 MB. */
const MAX_PICKLE_BYTES = 2 ** 24;

/** A tensor and where its storage begins in the file. */
interface Place extends TensorInfo {
  readonly tensor: TorchTensor;
  readonly storagePosition: number;
}

/**
 * Opens one file and checks its directory, its pickle and the size of every storage.
 * @throws Error when it is broken or of the format before torch 1.6; it names file, problem and remedy
 */
export async function openTorchBin(path: string): Promise<TensorReader> {
  const file = await openFileBytes(path);
  try {
    return await readTorchBin(file);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The same of an open file, which the reader's close() closes. */
export async function readTorchBin(file: FileBytes): Promise<TensorReader> {
  await refuseOtherFormats(file);
  const directory = await readZipDirectory(file);
  const root = rootOf(directory, file.path);
  await refuseBigEndian(file, directory, root);
  const pickle = await readEntry(file, directory, `${root}data.pkl`, MAX_PICKLE_BYTES);
  const places = await placeTensors(readStateDict(pickle, file.path), file, directory, root);
  return {
    tensors: places,
    metadata: {},
    read: async (name, offset = 0, length) => {
      const place = places.get(name);
      if (place === undefined) throw unknownTensor(name, file.path, places.keys());
      return await readTensor(file, place, offset, checkedLength(name, place, offset, length));
    },
    close: () => file.close(),
  };
}

/** A tensor's bytes in row-major order. One that is stored otherwise is gathered wholly by every call. */
async function readTensor(
  file: FileBytes,
  place: Place,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const { tensor, storagePosition, dtype } = place;
  const begin = storagePosition + tensor.offset * BYTES_PER_ELEMENT[dtype];
  if (isRowMajor(tensor.shape, tensor.strides)) return await file.read(begin + offset, length);
  const span = await file.read(begin, spanOf(tensor.shape, tensor.strides) * BYTES_PER_ELEMENT[dtype]);
  return gatherStrided(span, BYTES_PER_ELEMENT[dtype], tensor.shape, tensor.strides)
    .slice(offset, offset + length);
}

async function refuseOtherFormats(file: FileBytes): Promise<void> {
  const start = await file.read(0, Math.min(4, file.size));
  refuseLfsPointer(await file.read(0, Math.min(LFS_PROBE_BYTES, file.size)), file.path);
  const text = String.fromCharCode(...start);
  if (text === "PK\x03\x04") return;
  if (start[0] === 0x80) {
    throw formatError(
      file.path,
      "it has the format of torch before 1.6, which is a bare pickle; load and save it with a newer torch, or " +
        "convert it to safetensors",
    );
  }
  throw formatError(
    file.path,
    "required a zip file of torch.save(), it begins otherwise; download or copy it again",
  );
}

/** The folder in the zip that all entries lie in, with its slash. */
function rootOf(directory: ZipDirectory, path: string): string {
  const roots = [...directory.entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (roots.length !== 1) {
    throw formatError(
      path,
      `required one entry FOLDER/data.pkl as torch.save() writes it, found ${roots.length}; it is no file of weights`,
    );
  }
  return roots[0].slice(0, -"data.pkl".length);
}

async function refuseBigEndian(file: FileBytes, directory: ZipDirectory, root: string): Promise<void> {
  const name = `${root}byteorder`;
  if (!directory.entries.has(name)) return; // absent before torch 2.1
  const order = String.fromCharCode(...await readEntry(file, directory, name, 16));
  if (order !== "little") {
    throw formatError(
      file.path,
      `required byte order "little", got ${JSON.stringify(order)}; save it again on a little-endian machine`,
    );
  }
}

async function readEntry(
  file: FileBytes,
  directory: ZipDirectory,
  name: string,
  maxBytes: number,
): Promise<Uint8Array> {
  const entry = directory.entries.get(name);
  if (entry === undefined) throw formatError(file.path, `its zip lacks ${name}; it is no file of weights`);
  if (entry.size > maxBytes) {
    throw formatError(file.path, `its entry ${name} has ${entry.size} bytes, at most ${maxBytes} are read`);
  }
  return await file.read(await dataPosition(file, directory, entry), entry.size);
}

async function placeTensors(
  tensors: ReadonlyMap<string, TorchTensor>,
  file: FileBytes,
  directory: ZipDirectory,
  root: string,
): Promise<Map<string, Place>> {
  const positions = new Map<string, number>();
  const places = new Map<string, Place>();
  for (const [name, tensor] of tensors) {
    const { storage, shape } = tensor;
    checkStorage(storage, directory, root, file.path);
    const entry = directory.entries.get(`${root}data/${storage.key}`)!;
    const known = positions.get(storage.key);
    const storagePosition = known ?? await dataPosition(file, directory, entry);
    positions.set(storage.key, storagePosition);
    const byteLength = shape.includes(0) ? 0 : byteLengthOf(storage.dtype, shape)!; // at most the storage's
    places.set(name, { dtype: storage.dtype, shape, byteLength, tensor, storagePosition });
  }
  return places;
}

/** The pickle's word on a storage against the zip's. */
function checkStorage(storage: TorchStorage, directory: ZipDirectory, root: string, path: string): void {
  const size = directory.entries.get(`${root}data/${storage.key}`)?.size;
  const required = storage.elements * BYTES_PER_ELEMENT[storage.dtype];
  if (size === required) return;
  throw formatError(
    path,
    `storage ${JSON.stringify(storage.key)} of ${storage.elements} ${storage.dtype} ` +
      `takes ${required} bytes, ` +
      `its zip has ${size === undefined ? "no such entry" : `${size} bytes`}; download or copy it again`,
  );
}
