/** SHA-256 of files. */
import { createHash } from "node:crypto";
import { type FileBytes, openFileBytes } from "./file_bytes.ts";

const PIECE_BYTES = 4 << 20;

/** Larger files are looked at in so many places, of so many bytes each. */
const SAMPLES = 16;
const SAMPLE_BYTES = 64 << 10;

/** The hash of a file that is being read from its beginning on: what has gone by need not be read again. */
export class PassingHash {
  readonly #hash = createHash("sha256");
  #bytes = 0;
  #isEnded = false;

  /** Takes the file's next bytes. */
  add(piece: Uint8Array): void {
    if (this.#isEnded) return; // a reader that was ahead of who asked it
    this.#hash.update(piece);
    this.#bytes += piece.byteLength;
  }

  /** Hands the pieces on. */
  async *watch(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      this.add(piece);
      yield piece;
    }
  }

  /** The hash of the whole file, as hexadecimal digits; reads what has not gone by. Once. */
  async digest(bytes: FileBytes): Promise<string> {
    this.#isEnded = true;
    for (let at = this.#bytes; at < bytes.size; at += PIECE_BYTES) {
      this.#hash.update(await bytes.read(at, Math.min(PIECE_BYTES, bytes.size - at)));
    }
    return this.#hash.digest("hex");
  }
}

/**
 * The hash of a file's size and of samples of it, spread from its first to its last byte; of all bytes where it has no
 * more than 1 MiB. Weights that were trained on differ everywhere, so that gigabytes need not be read to see it.
 * @throws Error when it cannot be read
 */
export async function sampledSha256(path: string): Promise<string> {
  const bytes = await openFileBytes(path);
  try {
    const { size } = bytes;
    const hash = createHash("sha256").update(`${size} `);
    if (size <= SAMPLES * SAMPLE_BYTES) return hash.update(await bytes.read(0, size)).digest("hex");
    for (let sample = 0; sample < SAMPLES; sample++) {
      const position = Math.floor(sample * (size - SAMPLE_BYTES) / (SAMPLES - 1));
      hash.update(await bytes.read(position, SAMPLE_BYTES));
    }
    return hash.digest("hex");
  } finally {
    await bytes.close();
  }
}

/** The hash of a text, as hexadecimal digits. */
export const textSha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
