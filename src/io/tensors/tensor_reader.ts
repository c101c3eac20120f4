// What every reader of weights gives, whatever the file's format.

import type { StoredDtype } from "./dtype.ts";

/** What a file says about one tensor. */
export interface TensorInfo {
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  readonly byteLength: number;
}

/** Open weights: what is there, and the bytes on demand. Little-endian, row-major. */
export interface TensorReader {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * Bytes of one tensor, or `length` of them from `offset` on (both in bytes).
   * @throws RangeError when the name is unknown or the range outside the tensor
   * @throws Error when the file shrank
   */
  read(name: string, offset?: number, length?: number): Promise<Uint8Array>;
  /** The file that holds a tensor, for messages; absent where the reader was not told. */
  fileOf?(name: string): string | undefined;
  close(): Promise<void>;
}

/**
 * Number of bytes that a read() is to give.
 * @throws RangeError when the range is outside the tensor
 */
export function checkedLength(name: string, { byteLength }: TensorInfo, offset: number, length?: number) {
  const wanted = length ?? byteLength - offset;
  if (
    !(Number.isSafeInteger(offset) && Number.isSafeInteger(wanted) && offset >= 0 && wanted >= 0) ||
    offset + wanted > byteLength
  ) {
    throw new RangeError(
      `Cannot read ${wanted} bytes at ${offset} of tensor "${name}": it has ${byteLength} bytes`,
    );
  }
  return wanted;
}

export function unknownTensor(name: string, path: string, names: Iterable<string>): RangeError {
  const some = [...names].slice(0, 5).map((known) => `"${known}"`).join(", ") || "no tensors";
  return new RangeError(`Cannot read tensor "${name}": '${path}' has ${some}, ...`);
}
