// Files of rows: JSON Lines, a JSON array, either of them gzipped, or Parquet. What a file is, its first bytes tell.

import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { type FileBytes, openFileBytes, piecesOf } from "../files/file_bytes.ts";
import { isLfsPointer, LFS_PROBE_BYTES } from "../files/lfs_pointer.ts";
import { PassingHash } from "../files/sha256.ts";
import { jsonRows } from "./json_rows.ts";
import { isParquet, parquetRows } from "./parquet_rows.ts";
import { type RawRow, rowProblem } from "./row.ts";

const PIECE_BYTES = 2 ** 20;

export interface RowFileOptions {
  /** Read at once. */
  pieceBytes?: number;
  /** Told of the SHA-256 of the file's bytes, after its last row or the last that was asked for. */
  onSha256?(sha256: string): void;
}

/**
 * The rows of a file, read as they are asked for.
 * @throws Error when it cannot be read, is a Git LFS pointer, or its compression is broken
 * @throws SyntaxError when it is no rows of JSON
 */
export async function* rowsOfFile(
  path: string,
  { pieceBytes = PIECE_BYTES, onSha256 }: RowFileOptions = {},
): AsyncGenerator<RawRow> {
  const bytes = await openFileBytes(path);
  const hash = new PassingHash();
  let isBroken = false;
  try {
    yield* rowsOf(bytes, pieceBytes, hash);
  } catch (error) {
    isBroken = true;
    throw error;
  } finally {
    if (!isBroken && onSha256) onSha256(await hash.digest(bytes));
    await bytes.close();
  }
}

async function* rowsOf(bytes: FileBytes, pieceBytes: number, hash: PassingHash): AsyncGenerator<RawRow> {
  const { path } = bytes;
  const head = await bytes.read(0, Math.min(LFS_PROBE_BYTES, bytes.size));
  if (isLfsPointer(head)) {
    throw new Error(
      rowProblem(`'${path}'`, `it is a Git LFS pointer, not the file itself; fetch it with "git lfs pull"`),
    );
  }
  if (isParquet(head)) return yield* parquetRows(bytes);
  const pieces = hash.watch(piecesOf(bytes, pieceBytes));
  if (head[0] !== 0x1f || head[1] !== 0x8b) return yield* jsonRows(pieces, path);
  const stream = Readable.from(pieces);
  const unzipped = createGunzip({ chunkSize: Math.max(64, pieceBytes) });
  stream.on("error", (error) => unzipped.destroy(error)).pipe(unzipped);
  try {
    yield* jsonRows(unzipped, path);
  } catch (cause) {
    if (cause instanceof SyntaxError || !/^Z_|^ERR_/.test((cause as NodeJS.ErrnoException).code ?? "")) {
      throw cause;
    }
    const problem = `its gzip is broken (${(cause as Error).message}); copy or download it again`;
    throw new Error(rowProblem(`'${path}'`, problem), { cause });
  } finally {
    stream.destroy();
  }
}
