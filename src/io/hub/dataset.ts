// Splits of data sets of a hub, in the cache that Python's huggingface_hub uses too: datasets--{org}--{name}, laid out
// as a model's folder is.

import { readdir } from "node:fs/promises";
import { join, sep } from "node:path";
import { isFile } from "../files/presence.ts";
import { readText } from "../files/whole_file.ts";
import {
  DEFAULT_REVISION,
  fetchFile,
  fetchFiles,
  type HubProgress,
  type HubSettings,
  writeRef,
} from "./cache.ts";
import { type DatasetName, isCommit, splitFiles } from "./dataset_files.ts";
import { explainCacheError } from "./blob.ts";
import { listRepository } from "./repository.ts";

const README = "README.md";

const repoOf = ({ id }: DatasetName, { cacheDir }: HubSettings) =>
  join(cacheDir, `datasets--${id.replace("/", "--")}`);

async function namesBelow(dir: string): Promise<string[]> {
  const names = await readdir(dir, { recursive: true }).catch(() => []);
  const areFiles = await Promise.all(names.map((name) => isFile(join(dir, name)))); // a link may lead nowhere
  return names.filter((_, i) => areFiles[i]).map((name) => name.split(sep).join("/"));
}

const readmeIn = (dir: string) => readText(join(dir, README), "read").catch(() => undefined);

/** The files of a split as the cache has them for what its revision stood for when last asked. */
async function cachedSplit(name: DatasetName, settings: HubSettings): Promise<string[]> {
  const { revision = DEFAULT_REVISION } = name;
  const repo = repoOf(name, settings);
  const commit = isCommit(revision)
    ? revision
    : (await readText(join(repo, "refs", revision), "read")).trim();
  const dir = join(repo, "snapshots", commit);
  return splitFiles(await namesBelow(dir), name, await readmeIn(dir)).map((file) => join(dir, file));
}

/** Whether the cache holds a split, as far as can be told without the hub. */
export const isCachedSplit = (name: DatasetName, settings: HubSettings) =>
  cachedSplit(name, settings).then(() => true, () => false);

/**
 * The files of a split, those downloaded that the cache does not hold.
 * @throws Error when there is no such data set or split, access is restricted, there is no space, a hash is wrong, or
 * the network may not be asked for what the cache lacks; it says what to do
 */
export async function fetchSplit(
  name: DatasetName,
  settings: HubSettings,
  onProgress: (progress: HubProgress) => void = () => {},
): Promise<string[]> {
  const { id, revision = DEFAULT_REVISION } = name;
  const repo = repoOf(name, settings);
  if (settings.offline) {
    return await cachedSplit(name, settings).catch((cause) => {
      throw new Error(
        `Cannot use the data set "${id}@${revision}" offline: the cache in '${settings.cacheDir}' does not hold its ` +
          `split "${name.split}"; unset HF_HUB_OFFLINE to download it`,
        { cause },
      );
    });
  }
  const { commit, files } = await listRepository(id, revision, settings, "dataset");
  const dir = join(repo, "snapshots", commit);
  const place = { subject: { kind: "dataset" as const, id, revision: commit }, dir };
  try {
    const card = files.get(README);
    if (card !== undefined) await fetchFile(place, card, settings);
    const wanted = splitFiles([...files.keys()], name, await readmeIn(dir));
    await fetchFiles(place, wanted.map((file) => files.get(file)!), settings, onProgress);
    if (commit !== revision) await writeRef(join(repo, "refs", revision), commit);
    return wanted.map((file) => join(dir, file));
  } catch (error) {
    throw explainCacheError(error, repo);
  }
}
