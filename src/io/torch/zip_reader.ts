// Reads the directory of a zip file whose entries are stored without compression, also beyond 4 GiB (zip64).
// Strict where readers of zip files disagree: one directory, right before its end record, and nothing behind.
//
//   entries: local header, name, extra field, bytes | central directory | zip64 end record and its locator,
//   optional | end record, comment
// Checksums are not compared: torch and safetensors do not either, and tensors are read in parts.
// Source: APPNOTE.TXT 6.3.10 of PKWARE, sections 4.3.7 (local header) to 4.3.16 (end record), 4.5.3 (zip64)

import type { FileBytes } from "../files/file_bytes.ts";
import { formatError } from "../files/errors.ts";

/** An entry as the central directory has it. */
export interface ZipEntry {
  readonly name: string;
  readonly size: number;
  /** Where its local header begins in the file. */
  readonly headerPosition: number;
}

export interface ZipDirectory {
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /** Where the central directory begins: entries end before. */
  readonly position: number;
}

interface EndRecord {
  count: number;
  size: number;
  position: number;
}

const LOCAL_HEADER = 0x04034b50;
const CENTRAL_HEADER = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const END64_LOCATOR = 0x07064b50;
const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
const END_BYTES = 22;
const END64_BYTES = 56;
const LOCATOR_BYTES = 20;
const U16_MAX = 0xffff;
const U32_MAX = 0xffffffff;
const ZIP64_EXTRA = 1;
const ENCRYPTED = 1;
const STORED = 0;
/** About 200,000 entries. */
const MAX_DIRECTORY_BYTES = 2 ** 24;

const AGAIN = "the file is damaged or cut; download or copy it again";
const COMPRESSED = "save it again with torch.save(), which stores without compression";

/** Fields of a record, little-endian. */
function fieldsOf(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    u16: (at: number) => view.getUint16(at, true),
    u32: (at: number) => view.getUint32(at, true),
    /** Not below 2^53 becomes Infinity, which no check of a size lets pass. */
    u64: (at: number) => {
      const value = view.getBigUint64(at, true);
      return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : Infinity;
    },
  };
}

/**
 * Reads and checks the central directory.
 * @throws Error when it breaks the format; it names file, entry, required, actual and remedy
 */
export async function readZipDirectory(file: FileBytes): Promise<ZipDirectory> {
  const end = await findEnd(file);
  if (end.size > MAX_DIRECTORY_BYTES || end.count > end.size / CENTRAL_BYTES) {
    throw formatError(
      file.path,
      `its zip directory claims ${end.count} entries in ${end.size} bytes, at most ${MAX_DIRECTORY_BYTES} are ` +
        `read and an entry takes ${CENTRAL_BYTES}; ${AGAIN}`,
    );
  }
  const bytes = await file.read(end.position, end.size);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let i = 0; i < end.count; i++) {
    const { entry, byteLength } = parseCentralHeader(bytes.subarray(at), end.position, file.path);
    if (entries.has(entry.name)) {
      throw formatError(file.path, `its zip directory names ${quote(entry.name)} twice; ${AGAIN}`);
    }
    entries.set(entry.name, entry);
    at += byteLength;
  }
  if (at !== end.size) {
    throw formatError(file.path, `its ${end.count} zip entries take ${at} bytes, not ${end.size}; ${AGAIN}`);
  }
  return { entries, position: end.position };
}

/** Size and place of the directory, from the end record or, where there is one, its 64-bit form. */
async function findEnd(file: FileBytes): Promise<EndRecord> {
  const tailBytes = Math.min(file.size, END_BYTES + U16_MAX);
  const tail = await file.read(file.size - tailBytes, tailBytes);
  const fields = fieldsOf(tail);
  let at = tailBytes - END_BYTES;
  while (at >= 0 && !(fields.u32(at) === END && at + END_BYTES + fields.u16(at + 20) === tailBytes)) at--;
  if (at < 0) throw formatError(file.path, `required a zip file, found no end record; ${AGAIN}`);
  if (fields.u16(at + 4) !== 0 || fields.u16(at + 6) !== 0 || fields.u16(at + 8) !== fields.u16(at + 10)) {
    throw formatError(file.path, "it is one part of a zip file in several; join the parts");
  }
  let end: EndRecord = {
    count: fields.u16(at + 10),
    size: fields.u32(at + 12),
    position: fields.u32(at + 16),
  };
  let endPosition = file.size - tailBytes + at;
  const locator = at - LOCATOR_BYTES;
  if (locator >= 0 && fields.u32(locator) === END64_LOCATOR) {
    endPosition -= LOCATOR_BYTES + END64_BYTES;
    end = await readEnd64(file, endPosition, fields.u64(locator + 8), end);
  }
  if (end.position + end.size !== endPosition) {
    throw formatError(
      file.path,
      `its zip directory of ${end.size} bytes at ${end.position} is required to end at ${endPosition}; ${AGAIN}`,
    );
  }
  return end;
}

async function readEnd64(
  file: FileBytes,
  position: number,
  located: number,
  small: EndRecord,
): Promise<EndRecord> {
  if (located !== position) {
    throw formatError(
      file.path,
      `its zip64 end record is required at ${position}, its locator says ${located}; ${AGAIN}`,
    );
  }
  const fields = fieldsOf(await file.read(position, END64_BYTES));
  const whole = fields.u32(0) === END64 && fields.u64(4) === END64_BYTES - 12 && fields.u32(16) === 0 &&
    fields.u32(20) === 0 && fields.u64(24) === fields.u64(32);
  const end = { count: fields.u64(32), size: fields.u64(40), position: fields.u64(48) };
  // A field of the small record says the same, or all ones: "see the large one".
  const agrees = (field: number, ones: number, large: number) => field === ones || field === large;
  if (
    !whole || !agrees(small.count, U16_MAX, end.count) || !agrees(small.size, U32_MAX, end.size) ||
    !agrees(small.position, U32_MAX, end.position)
  ) {
    throw formatError(file.path, `its two zip end records do not fit together; ${AGAIN}`);
  }
  return end;
}

/** The first entry of `bytes`. @param limit where the directory begins */
function parseCentralHeader(
  bytes: Uint8Array,
  limit: number,
  path: string,
): { entry: ZipEntry; byteLength: number } {
  const fields = fieldsOf(bytes);
  if (bytes.length < CENTRAL_BYTES || fields.u32(0) !== CENTRAL_HEADER) {
    throw formatError(path, `its zip directory has an entry without signature; ${AGAIN}`);
  }
  const nameEnd = CENTRAL_BYTES + fields.u16(28);
  const extraEnd = nameEnd + fields.u16(30);
  const byteLength = extraEnd + fields.u16(32);
  if (byteLength > bytes.length) throw formatError(path, `its zip directory ends in an entry; ${AGAIN}`);
  const name = decodeName(bytes.subarray(CENTRAL_BYTES, nameEnd), path);
  if ((fields.u16(8) & ENCRYPTED) !== 0) {
    throw formatError(path, `its entry ${quote(name)} is encrypted; save it without a password`);
  }
  if (fields.u16(10) !== STORED) {
    throw formatError(
      path,
      `its entry ${quote(name)} is compressed (method ${fields.u16(10)}), required stored; ${COMPRESSED}`,
    );
  }
  const large = zip64Fields(bytes.subarray(nameEnd, extraEnd), name, path);
  // The 64-bit fields are there in this order, each only where its 32-bit field is all ones.
  const size = fields.u32(24) === U32_MAX ? large() : fields.u32(24);
  const stored = fields.u32(20) === U32_MAX ? large() : fields.u32(20);
  const headerPosition = fields.u32(42) === U32_MAX ? large() : fields.u32(42);
  if (size !== stored || headerPosition + LOCAL_BYTES + size > limit) {
    throw formatError(
      path,
      `its entry ${quote(name)} of ${size} bytes (${stored} in the file) at ${headerPosition} ` +
        "is required to end " +
        `before the zip directory at ${limit}; ${AGAIN}`,
    );
  }
  return { entry: { name, size, headerPosition }, byteLength };
}

/** Gives the 64-bit fields of an extra field one after the other. */
function zip64Fields(extra: Uint8Array, name: string, path: string): () => number {
  const fields = fieldsOf(extra);
  let next = 0;
  let end = 0;
  for (let at = 0; at + 4 <= extra.length; at += 4 + fields.u16(at + 2)) {
    if (fields.u16(at) !== ZIP64_EXTRA) continue;
    next = at + 4;
    end = Math.min(extra.length, next + fields.u16(at + 2));
    break;
  }
  return () => {
    if (next + 8 > end) {
      throw formatError(path, `its entry ${quote(name)} lacks its 64-bit size or position; ${AGAIN}`);
    }
    next += 8;
    return fields.u64(next - 8);
  };
}

/**
 * Where the bytes of an entry begin.
 * @throws Error when its local header is another's or its bytes do not fit
 */
export async function dataPosition(
  file: FileBytes,
  directory: ZipDirectory,
  entry: ZipEntry,
): Promise<number> {
  const nameBytes = new TextEncoder().encode(entry.name);
  const headerBytes = LOCAL_BYTES + nameBytes.length;
  const inside = entry.headerPosition + headerBytes <= directory.position;
  const header = inside ? await file.read(entry.headerPosition, headerBytes) : new Uint8Array(LOCAL_BYTES);
  const fields = fieldsOf(header);
  const isSame = inside && fields.u32(0) === LOCAL_HEADER && fields.u16(8) === STORED &&
    fields.u16(26) === nameBytes.length && nameBytes.every((byte, i) => byte === header[LOCAL_BYTES + i]);
  const position = entry.headerPosition + headerBytes + fields.u16(28);
  if (!isSame || position + entry.size > directory.position) {
    throw formatError(
      file.path,
      `its entry ${quote(entry.name)} of ${entry.size} bytes is not at ${entry.headerPosition}, ` +
        "where the zip " +
        `directory has it; ${AGAIN}`,
    );
  }
  return position;
}

function decodeName(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw formatError(path, `its zip directory has a name that is no UTF-8; ${AGAIN}`);
  }
}

function quote(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}...` : name);
}
