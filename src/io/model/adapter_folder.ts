/** The folder of an adapter as `peft` saves it: adapter_config.json and its weights. */
import { join } from "node:path";
import { isThere, readIfThere } from "../files/presence.ts";
import { parseHubName } from "../hub/name.ts";
import { type TensorValues, tensorValues } from "./model_folder.ts";
import { openSafetensors } from "../tensors/safetensors.ts";
import type { TensorReader } from "../tensors/tensor_reader.ts";
import { openTorchBin } from "../torch/reader.ts";

export interface AdapterFolder {
  dir: string;
  configPath: string;
  configText: string;
  source: TensorValues;
  /** Whether a tokenizer was saved with it. */
  hasTokenizer: boolean;
  close(): Promise<void>;
}

export const ADAPTER_CONFIG = "adapter_config.json";

/**
 * Opens `dir` if it holds an adapter; weights stay on disk until they are read.
 * @returns null without an adapter_config.json
 * @throws Error when a file, which it names, is missing or broken
 */
export async function openAdapterFolder(dir: string): Promise<AdapterFolder | null> {
  const configPath = join(dir, ADAPTER_CONFIG);
  const configText = await readIfThere(configPath, "read the adapter's config from");
  if (configText === null) return null;
  const weights = await openWeights(dir);
  const source = tensorValues(weights, dir);
  const hasTokenizer = await isThere(join(dir, "tokenizer.json")) ||
    await isThere(join(dir, "tokenizer.model"));
  return { dir, configPath, configText, source, hasTokenizer, close: () => weights.close() };
}

async function openWeights(dir: string): Promise<TensorReader> {
  const path = await adapterWeightsPath(dir);
  const reader = path.endsWith(".bin") ? await openTorchBin(path) : await openSafetensors(path);
  return { ...reader, fileOf: () => path };
}

/**
 * Where an adapter's weights lie.
 * @throws Error when there are none
 */
export async function adapterWeightsPath(dir: string): Promise<string> {
  for (const name of ["adapter_model.safetensors", "adapter_model.bin"]) {
    if (await isThere(join(dir, name))) return join(dir, name);
  }
  throw new Error(
    `Cannot load the adapter in '${dir}': looked for adapter_model.safetensors and adapter_model.bin, found neither; ` +
      "give the folder that peft's save_pretrained wrote",
  );
}

/**
 * The name of an adapter's base model as the rest of the program takes it: a folder counts from the working
 * directory, as in `peft`, else from the adapter's own folder; anything else is a hub id.
 */
export async function baseModelName(
  adapterDir: string,
  baseModel: string,
  revision: string | null,
): Promise<string> {
  for (const dir of [baseModel, join(adapterDir, baseModel)]) {
    if (await isThere(join(dir, "config.json"))) return dir;
  }
  return parseHubName(baseModel) && revision ? `${baseModel}@${revision}` : baseModel;
}
