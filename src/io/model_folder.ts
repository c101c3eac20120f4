/** A Hugging Face model folder: config.json and weights as f32 values on demand. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { explainFsError } from "./atomic_files.ts";
import { bytesToF32 } from "./dtype.ts";
import { openModelWeights, type TensorReader } from "./safetensors.ts";

export interface ModelFolder {
  dir: string;
  configPath: string;
  configText: string;
  /** Values of the tensors, converted to f32. */
  source: F32Source;
  close(): Promise<void>;
}

export interface F32Source {
  path: string;
  shapeOf(name: string): readonly number[] | undefined;
  read(name: string): Promise<Float32Array>;
}

/** Reads tensors of an open file as f32. @param path named in errors */
export function f32Source(reader: TensorReader, path: string): F32Source {
  return {
    path,
    shapeOf: (name) => reader.tensors.get(name)?.shape,
    async read(name) {
      return bytesToF32(await reader.read(name), reader.tensors.get(name)!.dtype);
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
  return { dir, configPath, configText, source: f32Source(weights, dir), close: () => weights.close() };
}
