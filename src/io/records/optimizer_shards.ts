// The optimizer's tensors in a checkpoint: in one file, or in one for each rank that holds a share of them.
//
//   optimizer.safetensors                 "<weight>.exp_avg" and others, whole
//   optimizer-00002-of-00004.safetensors  "<weight>.exp_avg[1024:2048]": its values 1024 up to, not including, 2048

import { join } from "node:path";
import { openSafetensors } from "../tensors/safetensors.ts";
import {
  checkedLength,
  type TensorInfo,
  type TensorReader,
  unknownTensor,
} from "../tensors/tensor_reader.ts";

const WHOLE = "optimizer.safetensors";
const SHARD = /^optimizer-(\d{5})-of-(\d{5})\.safetensors$/;
const PART = /^(.+)\[(\d+):(\d+)\]$/;
const F32_BYTES = 4;

const digits = (number: number) => String(number).padStart(5, "0");

/** The name of one rank's file, where `size` ranks write one each. @param rank from 0 */
export function optimizerFile(rank: number, size: number): string {
  return size === 1 ? WHOLE : `optimizer-${digits(rank + 1)}-of-${digits(size)}.safetensors`;
}

/** The name of a part of a tensor: its values `start` up to, not including, `end`. */
export const partName = (name: string, { start, end }: { start: number; end: number }): string =>
  `${name}[${start}:${end}]`;

/** The files of the optimizer among these; null where they are no whole set. */
export function optimizerFilesIn(names: readonly string[]): string[] | null {
  if (names.includes(WHOLE)) return [WHOLE];
  const size = Number(names.map((name) => SHARD.exec(name)?.[2]).find((of) => of !== undefined) ?? 0);
  const files = Array.from({ length: size }, (_, rank) => optimizerFile(rank, size));
  return files.length > 0 && files.every((name) => names.includes(name)) ? files : null;
}

interface Part {
  reader: TensorReader;
  name: string;
  start: number;
  end: number;
}

/** Parts of all files by the name of the tensor, in order. */
function partsByName(readers: readonly TensorReader[], dir: string): Map<string, Part[]> {
  const parts = new Map<string, Part[]>();
  for (const reader of readers) {
    for (const name of reader.tensors.keys()) {
      const [, whole, start, end] = PART.exec(name) ?? [];
      if (whole === undefined) {
        throw new Error(
          `Cannot load '${dir}': tensor "${name}" of an optimizer's shard must end in [START:END]; use another ` +
            "checkpoint",
        );
      }
      const own = parts.get(whole) ?? [];
      parts.set(whole, [...own, { reader, name, start: Number(start), end: Number(end) }]);
    }
  }
  for (const [name, own] of parts) {
    own.sort((a, b) => a.start - b.start);
    const gap = own.findIndex(({ start }, i) => start !== (i === 0 ? 0 : own[i - 1].end));
    if (gap === -1) continue;
    throw new Error(
      `Cannot load '${dir}': its shards must hold "${name}" from value ${
        gap === 0 ? 0 : own[gap - 1].end
      } on, and ` +
        `go on at ${own[gap].start}; use another checkpoint`,
    );
  }
  return parts;
}

/** The tensors of all shards, as one file would hold them, but flat. */
function joined(readers: readonly TensorReader[], dir: string): TensorReader {
  const parts = partsByName(readers, dir);
  const tensors = new Map<string, TensorInfo>([...parts].map(([name, own]) => {
    const { end } = own[own.length - 1];
    return [name, { dtype: "F32", shape: [end], byteLength: F32_BYTES * end }];
  }));
  return {
    tensors,
    metadata: {},
    async read(name, offset = 0, length) {
      const own = parts.get(name);
      if (own === undefined) throw unknownTensor(name, dir, tensors.keys());
      const bytes = new Uint8Array(checkedLength(name, tensors.get(name)!, offset, length));
      for (const { reader, name: part, start, end } of own) {
        const from = Math.max(offset, F32_BYTES * start);
        const to = Math.min(offset + bytes.length, F32_BYTES * end);
        if (from < to) bytes.set(await reader.read(part, from - F32_BYTES * start, to - from), from - offset);
      }
      return bytes;
    },
    async close() {
      for (const reader of readers) await reader.close();
    },
  };
}

/**
 * Opens the optimizer's files of a checkpoint.
 * @param files a whole set, as of optimizerFilesIn
 * @throws Error when one breaks its format, or values are in none of them
 */
export async function openOptimizer(dir: string, files: readonly string[]): Promise<TensorReader> {
  const readers: TensorReader[] = [];
  try {
    for (const name of files) readers.push(await openSafetensors(join(dir, name)));
    return files[0] === WHOLE ? readers[0] : joined(readers, dir);
  } catch (error) {
    for (const reader of readers) await reader.close();
    throw error;
  }
}
