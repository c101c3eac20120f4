// The weights of a model folder, in whichever of four ways it stores them, as one reader.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import { parsedJson, shortJson } from "../../config/parsed_json.ts";
import { explainFsError, formatError, messageOf, systemCode } from "../files/errors.ts";
import { isJsonObject } from "../files/json_object.ts";
import { refuseLfsPointer } from "../files/lfs_pointer.ts";
import { readBytes } from "../files/whole_file.ts";
import { duplicateKey } from "../tensors/safetensors_header.ts";
import { openSafetensors } from "../tensors/safetensors.ts";
import { type TensorInfo, type TensorReader, unknownTensor } from "../tensors/tensor_reader.ts";
import { openTorchBin } from "../torch/reader.ts";
import { otherFormat } from "./missing_model.ts";

interface Format {
  single: string;
  index: string;
  /** How the names of its files end. */
  suffix: string;
  open(path: string): Promise<TensorReader>;
}

/** In order of preference: safetensors needs no pickle. */
const FORMATS: readonly Format[] = [
  {
    single: "model.safetensors",
    index: "model.safetensors.index.json",
    suffix: ".safetensors",
    open: openSafetensors,
  },
  { single: "pytorch_model.bin", index: "pytorch_model.bin.index.json", suffix: ".bin", open: openTorchBin },
];

/**
 * Opens the weights in a model folder: the first that is there of model.safetensors, the shards of
 * model.safetensors.index.json, pytorch_model.bin, the shards of pytorch_model.bin.index.json.
 * @throws Error when there are no weights, shards are missing, or index and shards disagree; it lists which
 */
export async function openModelWeights(dir: string): Promise<TensorReader> {
  for (const format of FORMATS) {
    const single = join(dir, format.single);
    if (await exists(single)) return { ...await format.open(single), fileOf: () => single };
    const index = join(dir, format.index);
    if (await exists(index)) return await openShards(dir, index, format);
  }
  const looked = FORMATS.flatMap(({ single, index }) => [single, index]);
  const other = await otherFormat(dir);
  throw new Error(
    `Cannot load weights from '${dir}': looked for ${looked.join(", ")}, found none; ` +
      (other ?? "give the folder of a Hugging Face model"),
  );
}

/** Whether a folder has weights in a form that is read. */
export async function hasWeights(dir: string): Promise<boolean> {
  for (const { single, index } of FORMATS) {
    if (await exists(join(dir, single)) || await exists(join(dir, index))) return true;
  }
  return false;
}

/** Names of the files that openModelWeights reads, an index among them; none where there are no weights. */
export async function weightFiles(dir: string): Promise<string[]> {
  for (const { single, index, suffix } of FORMATS) {
    if (await exists(join(dir, single))) return [single];
    const path = join(dir, index);
    if (!await exists(path)) continue;
    return [index, ...new Set(parseIndex(await readBytes(path, "read"), path, suffix).values())];
  }
  return [];
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw explainFsError(error, "look for", path);
  }
}

async function openShards(dir: string, indexPath: string, format: Format): Promise<TensorReader> {
  const shardOf = parseIndex(await readBytes(indexPath, "read"), indexPath, format.suffix);
  const files = [...new Set(shardOf.values())].sort();
  const missing: string[] = [];
  for (const file of files) if (!(await exists(join(dir, file)))) missing.push(file);
  if (missing.length > 0) {
    throw formatError(
      indexPath,
      `${missing.length} of its ${files.length} shards are missing: ${missing.slice(0, 5).join(", ")}; ` +
        `download them into '${dir}'`,
    );
  }
  const shards = new Map<string, TensorReader>();
  const close = async () => {
    for (const shard of shards.values()) await shard.close();
  };
  try {
    for (const file of files) shards.set(file, await format.open(join(dir, file)));
    const tensors = mergeShards(shards, shardOf, indexPath);
    return {
      tensors,
      metadata: shards.get(files[0])?.metadata ?? {},
      read: async (name, offset, length) => {
        const shard = shards.get(shardOf.get(name) ?? "");
        if (shard === undefined) throw unknownTensor(name, indexPath, shardOf.keys());
        return await shard.read(name, offset, length);
      },
      fileOf: (name) => shardOf.has(name) ? join(dir, shardOf.get(name)!) : undefined,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * The file of each tensor, from the bytes of an index.
 * @param suffix how the names of shards must end
 * @throws Error when it is anything but a map of tensor names to names of files beside the index
 */
export function parseIndex(bytes: Uint8Array, path: string, suffix: string): Map<string, string> {
  refuseLfsPointer(bytes, path);
  let weightMap: unknown;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    const parsed = parsedJson(text);
    weightMap = (parsed as { weight_map?: unknown } | null)?.weight_map;
  } catch (cause) {
    throw formatError(path, `required valid JSON (${messageOf(cause)})`);
  }
  if (!isJsonObject(weightMap)) {
    throw formatError(path, `required "weight_map" with the file of each tensor; download the index again`);
  }
  // JSON.parse keeps the last of two: another reader may take the other shard.
  const duplicate = duplicateKey(text);
  if (duplicate !== undefined) {
    throw formatError(path, `it names tensor ${shortJson(duplicate)} twice; download the index again`);
  }
  const shardOf = new Map<string, string>();
  for (const [name, file] of Object.entries(weightMap)) {
    // A shard is a file beside its index; anything else could read outside the folder.
    if (typeof file !== "string" || !/^[^/\\\0]+$/.test(file) || !file.endsWith(suffix)) {
      throw formatError(
        path,
        `"weight_map" of tensor ${shortJson(name)} is required to name a ${suffix} file beside it`,
      );
    }
    shardOf.set(name, file);
  }
  if (shardOf.size === 0) throw formatError(path, `"weight_map" names no tensor; download the index again`);
  return shardOf;
}

/** One map of all tensors; index and shards must agree in both directions. */
function mergeShards(
  shards: ReadonlyMap<string, TensorReader>,
  shardOf: ReadonlyMap<string, string>,
  indexPath: string,
): Map<string, TensorInfo> {
  const merged = new Map<string, TensorInfo>();
  for (const [name, file] of shardOf) {
    const info = shards.get(file)?.tensors.get(name);
    if (info === undefined) {
      throw formatError(indexPath, `it places tensor ${shortJson(name)} in ${file}, which lacks it`);
    }
    merged.set(name, info);
  }
  for (const [file, shard] of shards) {
    for (const name of shard.tensors.keys()) {
      if (shardOf.get(name) !== file) {
        throw formatError(
          indexPath,
          `${file} holds tensor ${shortJson(name)}, which the index places in ${
            shardOf.get(name) ?? "no file"
          }`,
        );
      }
    }
  }
  return merged;
}
