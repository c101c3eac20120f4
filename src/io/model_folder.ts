/** A Hugging Face model folder: config.json, and the weights' values on demand. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { explainFsError } from "./atomic_files.ts";
import { bytesToF32, isFloatDtype } from "./dtype.ts";
import { openModelWeights, type TensorReader } from "./safetensors.ts";

export interface ModelFolder {
  dir: string;
  configPath: string;
  configText: string;
  source: TensorValues;
  close(): Promise<void>;
}

/** 16-bit values as the file stores them, two to a word: the even one in the low half. */
export interface PackedValues {
  format: "bf16" | "f16";
  words: Int32Array;
}

export interface TensorValues {
  path: string;
  names(): Iterable<string>;
  shapeOf(name: string): readonly number[] | undefined;
  /** Values converted to f32. */
  read(name: string): Promise<Float32Array>;
  /** Values as stored; null for a tensor of another type, or of an odd count. */
  readPacked(name: string): Promise<PackedValues | null>;
}

/** Reads tensors of an open file. @param path named in errors */
export function tensorValues(reader: TensorReader, path: string): TensorValues {
  return {
    path,
    names: () => reader.tensors.keys(),
    shapeOf: (name) => reader.tensors.get(name)?.shape,
    async read(name) {
      const { dtype } = reader.tensors.get(name)!;
      if (!isFloatDtype(dtype)) {
        throw new TypeError(
          `${path}: tensor "${name}" has dtype ${dtype}, required F32, BF16 or F16; convert it`,
        );
      }
      return bytesToF32(await reader.read(name), dtype);
    },
    async readPacked(name) {
      const { dtype, byteLength } = reader.tensors.get(name)!;
      if ((dtype !== "BF16" && dtype !== "F16") || byteLength % 4 !== 0) return null;
      const { buffer } = await reader.read(name); // of its own, so aligned
      return { format: dtype === "BF16" ? "bf16" : "f16", words: new Int32Array(buffer, 0, byteLength / 4) };
    },
  };
}

/**
 * Opens `dir`; weights stay on disk until they are read.
 * @throws Error naming the missing or broken file
 */
export async function openModelFolder(dir: string): Promise<ModelFolder> {
  const configPath = join(dir, "config.json");
  const configText = await readFile(configPath, "utf8").catch((error) => {
    throw explainFsError(error, "read the model's config from", configPath);
  });
  const weights = await openModelWeights(dir);
  return { dir, configPath, configText, source: tensorValues(weights, dir), close: () => weights.close() };
}
