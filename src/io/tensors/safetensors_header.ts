// The header of a safetensors file, pure: parse with every check of the format, and build.
//
// Layout   u64 little-endian N | N bytes of UTF-8 JSON, may end in spaces | tensor bytes
// JSON     {"__metadata__": {string: string}, NAME: {"dtype", "shape", "data_offsets": [begin, end]}, ...}
//          offsets count from the end of the header; tensors cover the rest of the file without hole or overlap
// Source   https://github.com/huggingface/safetensors#format

import { parsedJson } from "../../config/parsed_json.ts";
import { formatError, messageOf } from "../files/errors.ts";
import { isJsonObject } from "../files/json_object.ts";
import { BYTES_PER_ELEMENT, type StoredDtype } from "./dtype.ts";
import type { TensorInfo } from "./tensor_reader.ts";

/** A tensor and where its bytes begin, counted from the end of the header. */
export interface TensorPlace extends TensorInfo {
  readonly begin: number;
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorPlace>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Longest header any implementation accepts, in bytes. */
const MAX_HEADER_BYTES = 100_000_000;

const METADATA_KEY = "__metadata__";
const count = (bytes: number) => `${bytes.toLocaleString("en-US")} bytes`;
const quote = (name: string) => JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}...` : name);

/**
 * Length of the JSON header from the first 8 bytes of the file, checked against the file's size before anything
 * is allocated by it.
 * @throws Error when the file cannot hold such a header
 */
export function headerLengthOf(prefix: Uint8Array, fileSizeBytes: number, path: string): number {
  if (prefix.byteLength < 8) {
    throw formatError(
      path,
      `required at least 8 bytes, file has ${count(fileSizeBytes)}; download or copy it again`,
    );
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw formatError(
      path,
      `its first 8 bytes promise a header of ${length} bytes, at most ${MAX_HEADER_BYTES} are allowed; ` +
        `it is no safetensors file`,
    );
  }
  if (length > BigInt(fileSizeBytes - 8)) {
    throw formatError(
      path,
      `file is truncated or no safetensors file: it promises a header of ${count(Number(length))}, ` +
        `file has ${count(fileSizeBytes)}; download or copy it again`,
    );
  }
  return Number(length);
}

/**
 * Parses the JSON header and checks it against the bytes that follow it.
 * @param bufferSizeBytes size of the file behind the header
 * @throws Error when it breaks the format; it names file, tensor, required, actual and remedy
 */
export function parseHeader(json: Uint8Array, bufferSizeBytes: number, path: string): SafetensorsHeader {
  const text = decodeHeader(json, path);
  let parsed: unknown;
  try {
    parsed = parsedJson(text);
  } catch (cause) {
    throw formatError(
      path,
      `its header is no valid JSON (${messageOf(cause)})`,
    );
  }
  // JSON.parse silently keeps the last of two equal keys, and readers differ in which they keep.
  const duplicate = duplicateKey(text);
  if (duplicate !== undefined) throw formatError(path, `its header holds the key ${quote(duplicate)} twice`);
  const tensors = new Map<string, TensorPlace>();
  let metadata: Record<string, string> = {};
  for (const [name, entry] of Object.entries(parsed as object)) {
    if (name === METADATA_KEY) metadata = checkMetadata(entry, path);
    else tensors.set(name, checkEntry(entry, `tensor ${quote(name)}`, bufferSizeBytes, path));
  }
  checkCover(tensors, bufferSizeBytes, path);
  return { tensors, metadata };
}

function decodeHeader(json: Uint8Array, path: string): string {
  if (json[0] !== 0x7b) {
    throw formatError(path, `its header is required to begin with "{"; it is no safetensors file`);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
  } catch {
    throw formatError(path, "its header is required to be UTF-8 and is not; the file is damaged");
  }
}

function checkMetadata(entry: unknown, path: string): Record<string, string> {
  if (entry === null) return {}; // as some writers say that there is none
  if (!isJsonObject(entry) || Object.values(entry).some((value) => typeof value !== "string")) {
    throw formatError(path, `"${METADATA_KEY}" is required to map strings to strings`);
  }
  return entry as Record<string, string>;
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function checkEntry(entry: unknown, what: string, bufferSizeBytes: number, path: string): TensorPlace {
  const { dtype, shape, data_offsets: offsets } = isJsonObject(entry) ? entry : {};
  if (typeof dtype !== "string" || !Object.hasOwn(BYTES_PER_ELEMENT, dtype)) {
    throw formatError(
      path,
      `${what} has dtype ${shorten(dtype)}, required F64, F32, BF16, F16 or an 8-bit float; convert it`,
    );
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw formatError(path, `${what} has shape ${shorten(shape)}, required a list of whole numbers >= 0`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize) || offsets[0] > offsets[1]) {
    throw formatError(
      path,
      `${what} has data_offsets ${shorten(offsets)}, required [begin, end], begin <= end`,
    );
  }
  const [begin, end] = offsets as [number, number];
  if (end > bufferSizeBytes) {
    throw formatError(
      path,
      `file is truncated: its header promises ${count(end)} of tensors (${what} ends there), ` +
        `file has ${count(bufferSizeBytes)} behind the header; download or copy it again`,
    );
  }
  const byteLength = byteLengthOf(dtype as StoredDtype, shape);
  if (byteLength !== end - begin) {
    throw formatError(
      path,
      `${what} of dtype ${dtype} and shape [${shape}] takes ${byteLength ?? "more than 2^53"} bytes, ` +
        `its data_offsets [${begin}, ${end}] give ${end - begin}; the file is damaged`,
    );
  }
  return { dtype: dtype as StoredDtype, shape, byteLength, begin };
}

/** Product of the shape times the element size; undefined past 2^53. */
export function byteLengthOf(dtype: StoredDtype, shape: readonly number[]): number | undefined {
  let bytes = BYTES_PER_ELEMENT[dtype];
  for (const size of shape) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) return undefined;
  }
  return bytes;
}

/** Tensors sorted by place must follow each other exactly and end with the file. */
function checkCover(tensors: ReadonlyMap<string, TensorPlace>, bufferSizeBytes: number, path: string): void {
  const places = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.byteLength - b.byteLength);
  let covered = 0;
  let previous = "the header";
  for (const [name, { begin, byteLength }] of places) {
    if (begin !== covered) {
      const problem = begin < covered ? "overlaps" : `leaves a hole of ${count(begin - covered)} behind`;
      throw formatError(
        path,
        `tensor ${quote(name)} at ${begin} ${problem} ${previous}, which ends at ${covered}`,
      );
    }
    covered = begin + byteLength;
    previous = `tensor ${quote(name)}`;
  }
  if (covered !== bufferSizeBytes) {
    throw formatError(
      path,
      `its header promises ${count(covered)} of tensors, ` +
        `file has ${count(bufferSizeBytes)} behind the header; ` +
        `the file is damaged or two files were joined`,
    );
  }
}

/** First key that some object of a valid JSON text holds twice. */
export function duplicateKey(validJson: string): string | undefined {
  const keysOfOpenObjects: Set<string>[] = [];
  const token = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g;
  for (let match = token.exec(validJson); match !== null; match = token.exec(validJson)) {
    if (match[0] === "{") keysOfOpenObjects.push(new Set());
    else if (match[0] === "}") keysOfOpenObjects.pop();
    else if (match[1] !== undefined) {
      const key = JSON.parse(match[0].slice(0, match[0].length - match[1].length)) as string;
      const keys = keysOfOpenObjects[keysOfOpenObjects.length - 1];
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}

function shorten(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

/**
 * First bytes of a file for tensors in the given order: length, JSON, and spaces up to a multiple of 8.
 * @throws Error when a name is given twice or reserved
 */
export function buildHeader(
  tensors: readonly (readonly [name: string, info: TensorInfo])[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const header = new Map<string, unknown>();
  if (Object.keys(metadata).length > 0) header.set(METADATA_KEY, metadata);
  let begin = 0;
  for (const [name, { dtype, shape, byteLength }] of tensors) {
    if (header.has(name) || name === METADATA_KEY) {
      throw new Error(`Cannot write tensor ${quote(name)}: required a name that is not taken; rename one`);
    }
    header.set(name, { dtype, shape, data_offsets: [begin, begin + byteLength] });
    begin += byteLength;
  }
  // Not Object.fromEntries: it would move integer-like names to the front.
  const fields = [...header].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const paddedLength = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + paddedLength).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(paddedLength), true);
  bytes.set(json, 8);
  return bytes;
}
