// Rows of a Parquet file, a row group's worth at a time, as JSON has them.

import { setImmediate } from "node:timers/promises";
import { parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import type { FileBytes } from "../files/file_bytes.ts";
import { assertPages } from "./parquet_pages.ts";
import { type RawRow, rowProblem } from "./row.ts";

/** Rows decoded at once. */
const ROWS_AT_ONCE = 4096;

/** What a page unfolds to, at the most: a column of a row group is some megabytes. */
const MAX_PAGE_BYTES = 2 ** 28;

/** All but LZ4, whose decoder (hyparquet-compressors 1.1.2) fails on files of pyarrow. */
const { LZ4: _, LZ4_RAW: __, ...OWN_DECOMPRESSORS } = compressors;
/** They make room for what the page says that it unfolds to. */
const DECOMPRESSORS = Object.fromEntries(
  Object.entries(OWN_DECOMPRESSORS).map((
    [name, decompress],
  ) => [name, (input: Uint8Array, length: number) => {
    if (length > MAX_PAGE_BYTES || length < 0) {
      throw new RangeError(`a page claims to unfold to ${length} bytes`);
    }
    return decompress!(input, length);
  }]),
);

/** Whether a file's first bytes are a Parquet file's. */
export const isParquet = (head: Uint8Array) => String.fromCharCode(...head.subarray(0, 4)) === "PAR1";

/** Columns of bytes are text where they are UTF-8, as old writers left it unsaid, else base64. */
function textOfBytes(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return Buffer.from(bytes).toString("base64");
  }
}

/** Whole numbers as numbers where they are exact, dates and bytes as text. */
function asJson(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof Uint8Array) return textOfBytes(value);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value as unknown[], asJson);
  if (typeof value !== "object" || value === null) return value ?? null;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, asJson(item)]));
}

/** @throws Error when the file is no whole Parquet file, or holds an encoding that is not known */
export async function* parquetRows(bytes: FileBytes): AsyncGenerator<RawRow> {
  let isGivenUp = false;
  /** By where a column of a row group begins: how many values it has. */
  const columns = new Map<number, number>();
  const file = {
    byteLength: bytes.size,
    async slice(start: number, end = bytes.size) {
      const part = await bytes.read(start, end - start);
      const values = columns.get(start);
      if (values !== undefined) assertPages(part, values);
      await setImmediate();
      // hyparquet leaves what it has begun where it throws before it waits: an error of that would end the process.
      return isGivenUp ? await new Promise<never>(() => {}) : part.buffer as ArrayBuffer;
    },
  };
  const explained = async <R>(what: string, body: () => Promise<R>): Promise<R> => {
    try {
      return await body();
    } catch (cause) {
      isGivenUp = true;
      const problem =
        `${what} cannot be read: ${(cause as Error).message}; copy or download the file again, or ` +
        "write it anew with snappy or zstd compression";
      throw new Error(rowProblem(`'${bytes.path}'`, problem), { cause });
    }
  };
  const metadata = await explained("the Parquet file's end", () => parquetMetadataAsync(file));
  for (const { meta_data } of metadata.row_groups.flatMap((group) => group.columns)) {
    if (!meta_data) continue; // refused below
    const { dictionary_page_offset: dictionary, data_page_offset: data, num_values } = meta_data;
    columns.set(Number(dictionary || data), Number(num_values));
  }
  let first = 0;
  for (const group of metadata.row_groups) {
    const claimed = group.columns.find(({ meta_data }) =>
      !meta_data || meta_data.num_values < group.num_rows
    );
    if (claimed !== undefined) {
      const problem =
        `the Parquet file's end claims ${group.num_rows} rows from ${
          first + 1
        } on, and fewer values; copy or ` +
        "download the file again";
      throw new Error(rowProblem(`'${bytes.path}'`, problem));
    }
    const end = first + Number(group.num_rows);
    for (let rowStart = first; rowStart < end; rowStart += ROWS_AT_ONCE) {
      const rowEnd = Math.min(end, rowStart + ROWS_AT_ONCE);
      const rows = await explained(
        `rows ${rowStart + 1} to ${rowEnd} of the Parquet file`,
        () =>
          parquetReadObjects({ file, metadata, compressors: DECOMPRESSORS, rowStart, rowEnd, utf8: false }),
      );
      for (const [i, row] of rows.entries()) {
        yield { place: `'${bytes.path}', row ${rowStart + i + 1}`, read: () => asJson(row) };
      }
    }
    first = end;
  }
}
