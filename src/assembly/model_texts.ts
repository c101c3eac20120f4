/** The files in which a model says what it is, wherever it lies: before weights are needed, and without them. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { isFile } from "../io/files/presence.ts";
import { parseHubName } from "../io/hub/name.ts";
import { fetchTexts } from "../io/hub/texts.ts";
import { openAdapterFolder } from "../io/model/adapter_folder.ts";
import { baseModelOf } from "./adapters.ts";
import { hubSettings, lookUpName } from "./hub.ts";

export interface ModelTexts {
  /** The folder that they lie in. */
  dir: string;
  /** config.json was given alone: nothing is known of a tokenizer. */
  isConfigAlone: boolean;
}

/**
 * Finds the texts of a model for as long as `use` runs: those of a folder, of a config.json in one, of an adapter's
 * base model, or of a hub id; the latter are downloaded and thrown away where the cache does not hold the model.
 * @throws Error when there is no such model
 */
export async function withModelTexts<R>(name: string, use: (texts: ModelTexts) => Promise<R>): Promise<R> {
  if (basename(name) === "config.json" && await isFile(name)) {
    return await use({ dir: dirname(name), isConfigAlone: true });
  }
  const adapter = await openAdapterFolder(name);
  await adapter?.close();
  if (adapter) return await withModelTexts(await baseModelOf(adapter), use);
  const { name: found, dir } = await lookUpName(name);
  if (dir !== undefined) return await use({ dir, isConfigAlone: false });
  const scratch = await mkdtemp(join(tmpdir(), "grpo-webgpu-model-"));
  try {
    await fetchTexts(parseHubName(found)!, await hubSettings(process.env), scratch);
    return await use({ dir: scratch, isConfigAlone: false });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
