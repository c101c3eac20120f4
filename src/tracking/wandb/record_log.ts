/**
 * The file that W&B's own programs read: records in blocks of 32 KiB, as LevelDB's log has them, behind 7 bytes that
 * name the format. A record that does not fit what is left of a block goes on in the next; each piece has its checksum.
 * Layout: https://github.com/google/leveldb/blob/main/doc/log_format.md, with CRC-32 over type and bytes.
 */
import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { open } from "node:fs/promises";
import { crc32 } from "../crc.ts";
import { joinedBytes } from "../joined_bytes.ts";

const FORMAT = Uint8Array.of(0x3a, 0x57, 0x26, 0x42, 0xe1, 0xbe, 0x00); // ":W&B", 0xBEE1, version 0
const BLOCK_BYTES = 32 * 1024;
/** CRC-32 (4 bytes), length (2), type (1). */
const PIECE_HEADER_BYTES = 7;
const WHOLE = 1;
const FIRST = 2;
const MIDDLE = 3;
const LAST = 4;

/** A record of the file, and where the file goes on behind it. */
export interface FiledRecord {
  payload: Uint8Array;
  end: number;
}

/** The whole records of a file's bytes, in order, up to the first that is torn or damaged; none of another format. */
export function* recordsIn(bytes: Uint8Array): Generator<FiledRecord> {
  if (FORMAT.every((byte, i) => bytes[i] === byte)) yield* recordsFrom(bytes, FORMAT.length);
}

/**
 * The whole records behind byte `position` of a file, where one begins; the first is at 0.
 * @throws Error when the file system refuses it
 */
export async function* recordsBehind(path: string, position: number): AsyncGenerator<FiledRecord> {
  const from = Math.max(position, FORMAT.length);
  const block = from - from % BLOCK_BYTES;
  const file = await open(path);
  try {
    const bytes = new Uint8Array((await file.stat()).size - block);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, block);
    for (const { payload, end } of recordsFrom(bytes.subarray(0, bytesRead), from - block)) {
      yield { payload, end: block + end };
    }
  } finally {
    await file.close();
  }
}

/** @param bytes from the beginning of a block on */
function* recordsFrom(bytes: Uint8Array, from: number): Generator<FiledRecord> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let parts: Uint8Array[] = [];
  for (let at = from; at < bytes.length;) {
    const left = BLOCK_BYTES - at % BLOCK_BYTES;
    if (left < PIECE_HEADER_BYTES) {
      at += left;
      continue;
    }
    if (at + PIECE_HEADER_BYTES > bytes.length) return;
    const length = view.getUint16(at + 4, true);
    const type = bytes[at + 6];
    const end = at + PIECE_HEADER_BYTES + length;
    if (end > bytes.length || view.getUint32(at, true) !== crc32(bytes.subarray(at + 6, end))) return;
    const isBeginning = type === WHOLE || type === FIRST;
    if (isBeginning !== (parts.length === 0)) return;
    parts.push(bytes.subarray(at + PIECE_HEADER_BYTES, end));
    if (type === WHOLE || type === LAST) {
      yield { payload: joinedBytes(parts), end };
      parts = [];
    }
    at = end;
  }
}

/** The pieces of a record that begins at byte `at` of the file, zeros up to the next block before them where needed. */
function framed(payload: Uint8Array, at: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let done = 0;
  let isFirst = true;
  do {
    let left = BLOCK_BYTES - at % BLOCK_BYTES;
    if (left < PIECE_HEADER_BYTES) {
      parts.push(new Uint8Array(left));
      at += left;
      left = BLOCK_BYTES;
    }
    const piece = payload.subarray(done, done + left - PIECE_HEADER_BYTES);
    const isLast = done + piece.length === payload.length;
    const type = Uint8Array.of(isFirst ? (isLast ? WHOLE : FIRST) : isLast ? LAST : MIDDLE);
    const header = new DataView(new ArrayBuffer(PIECE_HEADER_BYTES - 1));
    header.setUint32(0, crc32(type, piece), true);
    header.setUint16(4, piece.length, true);
    parts.push(new Uint8Array(header.buffer), type, piece);
    at += PIECE_HEADER_BYTES + piece.length;
    done += piece.length;
    isFirst = false;
  } while (done < payload.length);
  return joinedBytes(parts);
}

export interface RecordLog {
  /**
   * Appends one record, which is the kernel's when this returns: a kill loses nothing.
   * @throws Error when the file system refuses it
   */
  append(payload: Uint8Array): void;
  /** Flushes to the disk. */
  sync(): void;
  close(): void;
}

/**
 * Opens the file for appending, behind the records at its beginning that `isKept` takes; what follows them goes away.
 * @throws Error when the file system refuses it
 */
export function openRecordLog(path: string, isKept: (payload: Uint8Array) => boolean): RecordLog {
  const file = openSync(path, "a+");
  const write = (bytes: Uint8Array) => {
    for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done, bytes.length - done);
  };
  let at = 0;
  try {
    for (const { payload, end } of recordsIn(readFileSync(path))) {
      if (!isKept(payload)) break;
      at = end;
    }
    ftruncateSync(file, at);
    if (at === 0) {
      write(FORMAT);
      at = FORMAT.length;
    }
  } catch (error) {
    closeSync(file);
    throw error;
  }
  return {
    append(payload) {
      const bytes = framed(payload, at);
      write(bytes);
      at += bytes.length;
    },
    sync: () => fsyncSync(file),
    close: () => closeSync(file),
  };
}
