// Files that need no disk: for readers of formats under test.
import { ZipFile } from "yazl";
import type { FileBytes } from "../../src/io/files/file_bytes.ts";
import { formatError } from "../../src/io/files/errors.ts";

/** Bytes in memory as a file named "x.bin". Like a file's, a read past its end throws, and so does a bad range. */
export function memoryFile(bytes: Uint8Array): FileBytes {
  return {
    path: "x.bin",
    size: bytes.length,
    read: (position, length) => {
      if (!(Number.isSafeInteger(position) && Number.isSafeInteger(length) && position >= 0 && length >= 0)) {
        throw new RangeError(`a reader asked for ${length} bytes at ${position}`);
      }
      if (position + length > bytes.length) throw formatError("x.bin", "file ended");
      return Promise.resolve(bytes.slice(position, position + length));
    },
    close: () => Promise.resolve(),
  };
}

/** A zip of the entries in their order, stored unless `compress`; `zip64` forces every 64-bit record. */
export async function zipOf(
  entries: readonly (readonly [name: string, bytes: Uint8Array | string])[],
  { zip64 = false, compress = false } = {},
): Promise<Uint8Array> {
  const zip = new ZipFile();
  const options = { compress, forceZip64Format: zip64, mtime: new Date(1980, 0, 1) };
  for (const [name, bytes] of entries) zip.addBuffer(Buffer.from(bytes), name, options);
  zip.end({ forceZip64Format: zip64, comment: "" });
  const chunks: Uint8Array[] = [];
  for await (const chunk of zip.outputStream) chunks.push(chunk as Uint8Array);
  return new Uint8Array(Buffer.concat(chunks));
}
