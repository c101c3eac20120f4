/** What tells one model from another of the same name. */
import { basename, join } from "node:path";
import { isThere } from "../files/presence.ts";
import { sampledSha256 } from "../files/sha256.ts";
import { ADAPTER_CONFIG, adapterWeightsPath } from "./adapter_folder.ts";
import { weightFiles } from "./model_weights.ts";

/**
 * Hashes of a model's files by their names: config, weights, and what else is given; of large files by samples.
 * @param dir of the whole model
 * @param adapterDir of the adapter over it; null for none
 * @param files paths of further files that go with the model
 * @throws Error when one cannot be read
 */
export async function modelHashes(
  dir: string,
  adapterDir: string | null,
  files: readonly string[],
): Promise<Record<string, string>> {
  const paths = [
    join(dir, "config.json"),
    ...(await weightFiles(dir)).map((name) => join(dir, name)),
    ...(adapterDir === null ? [] : [join(adapterDir, ADAPTER_CONFIG), await adapterWeightsPath(adapterDir)]),
    ...files,
  ];
  const hashes: Record<string, string> = {};
  for (const path of paths) {
    if (await isThere(path)) hashes[basename(path)] = await sampledSha256(path);
  }
  return hashes;
}
