// Rows of JSON text that comes in pieces: one to a line, or the elements of one array. A piece may end anywhere, and
// only one row is in memory at a time.

import { parsedJson } from "../../config/parsed_json.ts";
import { type RawRow, rowProblem } from "./row.ts";

/** Longer rows are no rows: most likely the file holds something else. */
const MAX_ROW_BYTES = 2 ** 28;
const MARK = [0xef, 0xbb, 0xbf];
const [NEWLINE, QUOTE, BACKSLASH, COMMA] = [0x0a, 0x22, 0x5c, 0x2c];
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];
const isSpace = (byte: number) => byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;

/**
 * The rows of a file.
 * @param path for errors
 * @throws SyntaxError when an array is broken between its elements or not ended, or a row is longer than 256 MiB
 */
export async function* jsonRows(pieces: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<RawRow> {
  const { first, all } = await peek(pieces);
  yield* first === OPEN_ARRAY ? arrayRows(all, path) : lineRows(all, path);
}

/** The first byte that is no white space or byte order mark, and all pieces again. */
async function peek(pieces: AsyncIterable<Uint8Array>) {
  const iterator = pieces[Symbol.asyncIterator]();
  const seen: Uint8Array[] = [];
  let first: number | undefined;
  while (first === undefined) {
    const { done, value } = await iterator.next();
    if (done) break;
    seen.push(value);
    first = value.find((byte) => !isSpace(byte) && !MARK.includes(byte));
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    try {
      yield* seen;
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
    } finally {
      await iterator.return?.();
    }
  }
  return { first, all: all() };
}

/** Gathers the bytes of one row. */
function rowBuffer(path: string) {
  let parts: Uint8Array[] = [];
  let length = 0;
  return {
    add(part: Uint8Array, line: number) {
      length += part.byteLength;
      if (length > MAX_ROW_BYTES) {
        throw new SyntaxError(
          rowProblem(`'${path}', line ${line}`, "the row has over 256 MiB; is it JSON, a row to a line?"),
        );
      }
      parts.push(part.slice());
    },
    take(): Uint8Array {
      const bytes = new Uint8Array(length);
      let at = 0;
      for (const part of parts) {
        bytes.set(part, at);
        at += part.byteLength;
      }
      parts = [];
      length = 0;
      return bytes;
    },
  };
}

async function* lineRows(pieces: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<RawRow> {
  const buffer = rowBuffer(path);
  let line = 1;
  for await (const piece of pieces) {
    let start = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, start)) {
      buffer.add(piece.subarray(start, end), line);
      yield* rowIn(buffer.take(), line++, path);
      start = end + 1;
    }
    buffer.add(piece.subarray(start), line);
  }
  yield* rowIn(buffer.take(), line, path);
}

/** None in a blank line. A byte order mark may begin any line: files are joined one behind the other. */
function* rowIn(bytes: Uint8Array, line: number, path: string): Generator<RawRow> {
  const own = MARK.every((byte, i) => bytes[i] === byte) ? bytes.subarray(MARK.length) : bytes;
  if (own.every(isSpace)) return;
  const place = `'${path}', line ${line}`;
  yield { place, read: () => parse(own, place) };
}

function parse(bytes: Uint8Array, place: string): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new SyntaxError(
      rowProblem(
        place,
        "required UTF-8, got bytes that are not; convert the file, for example with 'iconv -t UTF-8'",
      ),
      { cause },
    );
  }
  try {
    return parsedJson(text);
  } catch (cause) {
    const problem = `required one JSON object, but ${(cause as Error).message}`;
    const opens = /^\s*\{\s*$/.test(text);
    const remedy = opens ? "; write each row in a line of its own, or all as a JSON array" : "";
    throw new SyntaxError(rowProblem(place, problem + remedy), { cause });
  }
}

async function* arrayRows(pieces: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<RawRow> {
  const buffer = rowBuffer(path);
  let [line, rowLine, depth] = [1, 1, 0];
  let [inRow, inString, isEscaped, hasEnded] = [false, false, false, false];
  const fail = (problem: string) => new SyntaxError(rowProblem(`'${path}', line ${line}`, problem));
  for await (const piece of pieces) {
    let start = 0; // of the row's part in this piece
    for (let i = 0; i < piece.length; i++) {
      const byte = piece[i];
      if (byte === NEWLINE) line++;
      if (inString) {
        if (isEscaped) isEscaped = false;
        else if (byte === BACKSLASH) isEscaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (depth === 0) {
        if (isSpace(byte) || MARK.includes(byte)) continue;
        if (hasEnded) {
          throw fail(`required nothing behind the array's "]"; remove it, or write one row a line`);
        }
        depth = 1; // peek() saw the bracket
      } else if (depth === 1 && (byte === COMMA || byte === CLOSE_ARRAY)) {
        const isLast = byte === CLOSE_ARRAY;
        if (inRow) {
          buffer.add(piece.subarray(start, i), line);
          const [place, bytes] = [`'${path}', line ${rowLine}`, buffer.take()];
          yield { place, read: () => parse(bytes, place) };
        } else if (!isLast) throw fail("required a row before the comma; remove the comma");
        inRow = false;
        if (isLast) [depth, hasEnded] = [0, true];
      } else if (inRow || !isSpace(byte)) {
        if (!inRow) [inRow, start, rowLine] = [true, i, line];
        if (byte === QUOTE) inString = true;
        else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) depth++;
        else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) depth--;
      }
    }
    if (inRow) buffer.add(piece.subarray(start), line);
  }
  if (!hasEnded) {
    throw fail(`the file ends before the array's "]"; it was cut off: copy or download it again`);
  }
}
