// Models (and data sets, see dataset.ts) of a Hugging Face hub, in the cache that Python's huggingface_hub uses too:
//
//   <cache>/models--{org}--{name}/refs/{revision}          the commit a branch or tag stood for when last asked
//                                 blobs/{hash}             content
//                                 snapshots/{commit}/{file} -> ../../blobs/{hash}
//
// Written on fetch and the public HTTP API instead of @huggingface/hub (2.17): its downloads start a partial file
// over, compare neither size nor hash, share one partial between processes and fetch every file of a repository,
// so only its request for the file list would have been of use.
// Sources: https://huggingface.co/docs/hub/api, https://huggingface.co/docs/huggingface_hub/guides/manage-cache

import { link, readdir, rm, stat, statfs, symlink } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { makeFolders, writeFileAtomic } from "../files/atomic_files.ts";
import { systemCode } from "../files/errors.ts";
import { isThere } from "../files/presence.ts";
import { readText } from "../files/whole_file.ts";
import { downloadBlob, explainCacheError, type HubFile } from "./blob.ts";
import { type HubAccess, type HubSubject, nameOf } from "./http.ts";
import { COMMIT, type HubName } from "./name.ts";
import { lackingTexts, listRepository, TEXT_FILES, weightFiles } from "./repository.ts";

export interface HubSettings extends HubAccess {
  readonly cacheDir: string;
  /** Never ask the network. */
  readonly offline: boolean;
}

export interface HubModel {
  readonly id: string;
  /** The full commit hash. */
  readonly commit: string;
  /** The folder that holds its files. */
  readonly dir: string;
}

export interface HubProgress {
  readonly id: string;
  /** Bytes that are there, those of earlier tries too. */
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export const DEFAULT_REVISION = "main";

/** What a snapshot folder lacks to be used as it is. Links to missing blobs count as missing. */
async function lackingOf(snapshot: string): Promise<string[]> {
  const names = new Set<string>();
  for (const name of await readdir(snapshot).catch(() => [])) {
    if (await isThere(join(snapshot, name))) names.add(name);
  }
  const weights = await weightFiles(names, (index) => readText(join(snapshot, index), "read"));
  const lackingWeights = weights.length === 0 ? ["weights"] : weights.filter((name) => !names.has(name));
  return [...lackingTexts(names), ...lackingWeights];
}

interface InCache {
  /** Where the cache has the model, or would have it; the commit is "" where only the hub can say. */
  model: HubModel;
  /** What is missing there. */
  lacking: string[];
}

/** @param trustsRefs whether a branch or tag stands for what it stood for when last asked */
async function lookInCache(name: HubName, { cacheDir }: HubSettings, trustsRefs: boolean): Promise<InCache> {
  const { id, revision = DEFAULT_REVISION } = name;
  const repo = join(cacheDir, `models--${id.replace("/", "--")}`);
  const readRef = () => readText(join(repo, "refs", revision), "read").catch(() => "");
  const commit = COMMIT.test(revision) ? revision : trustsRefs ? (await readRef()).trim() : "";
  const dir = join(repo, "snapshots", commit);
  const lacking = commit === "" ? ["the commit it stands for"] : await lackingOf(dir);
  return { model: { id, commit, dir }, lacking };
}

function offlineError(
  { id, revision = DEFAULT_REVISION }: HubName,
  cacheDir: string,
  lacking: string[],
): Error {
  return new Error(
    `Cannot use "${id}@${revision}" offline: there is no folder "${id}" here, and the cache in '${cacheDir}' lacks ` +
      `${lacking.join(", ")}; unset HF_HUB_OFFLINE to download it`,
  );
}

/**
 * A model without downloading it: with its folder where the cache holds it whole, else as the hub has it.
 * @throws Error when fetchModel would
 */
export async function lookUpModel(
  name: HubName,
  settings: HubSettings,
): Promise<{ commit: string; dir: string | undefined }> {
  const { model, lacking } = await lookInCache(name, settings, true);
  if (lacking.length === 0) return model;
  if (settings.offline) throw offlineError(name, settings.cacheDir, lacking);
  const { commit } = await listRepository(name.id, name.revision ?? DEFAULT_REVISION, settings);
  return { commit, dir: undefined };
}

/**
 * The folder of a model, downloaded where the cache does not hold it whole. A full commit hash that is cached needs
 * no network.
 * @throws Error when there is no such model, access is restricted, it is neither cached nor may the network be asked,
 * there is no space, or a hash is wrong; it says what to do
 */
export async function fetchModel(
  name: HubName,
  settings: HubSettings,
  onProgress: (progress: HubProgress) => void = () => {},
): Promise<HubModel> {
  const cached = await lookInCache(name, settings, settings.offline);
  if (cached.lacking.length === 0) return cached.model;
  if (settings.offline) throw offlineError(name, settings.cacheDir, cached.lacking);
  const { id, revision = DEFAULT_REVISION } = name;
  const { commit, files } = await listRepository(id, revision, settings);
  const repo = join(settings.cacheDir, `models--${id.replace("/", "--")}`);
  const model = { id, commit, dir: join(repo, "snapshots", commit) };
  try {
    if (commit !== revision) await writeRef(join(repo, "refs", revision), commit);
    await downloadFiles(model, files, settings, onProgress);
    return model;
  } catch (error) {
    throw explainCacheError(error, repo);
  }
}

export async function writeRef(path: string, commit: string): Promise<void> {
  await makeFolders(dirname(path));
  await writeFileAtomic(path, commit);
}

/** Where files of a repository go, and what they are called on the hub. */
export interface SnapshotPlace {
  readonly subject: HubSubject;
  /** Of the commit, in snapshots/. */
  readonly dir: string;
}

/** Downloads one file that is not there yet, and links it into the snapshot. */
export async function fetchFile(
  { subject, dir }: SnapshotPlace,
  file: HubFile,
  settings: HubSettings,
  onBytes: (haveBytes: number) => void = () => {},
): Promise<void> {
  const blobs = join(dirname(dirname(dir)), "blobs");
  const pointer = join(dir, file.name);
  await makeFolders(blobs);
  await makeFolders(dirname(pointer));
  const blob = join(blobs, file.hash.hex);
  if (!await isThere(blob)) {
    await downloadBlob(settings, { ...subject, file: file.name }, file, blob, onBytes);
  }
  await linkBlob(blob, pointer);
}

/** Downloads files in their order, where there is room for all of them. */
export async function fetchFiles(
  place: SnapshotPlace,
  wanted: readonly HubFile[],
  settings: HubSettings,
  onProgress: (progress: HubProgress) => void,
): Promise<void> {
  const { subject: { id }, dir } = place;
  const totalBytes = wanted.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  await assertSpace(join(dirname(dirname(dir)), "blobs"), wanted);
  let doneBytes = 0;
  for (const file of wanted) {
    await fetchFile(
      place,
      file,
      settings,
      (haveBytes) => onProgress({ id, doneBytes: doneBytes + haveBytes, totalBytes }),
    );
    doneBytes += file.sizeBytes;
    onProgress({ id, doneBytes, totalBytes });
  }
}

/** Downloads what a model needs of `files`. The weights come last: a snapshot that has them is whole. */
async function downloadFiles(
  { id, commit, dir }: HubModel,
  files: ReadonlyMap<string, HubFile>,
  settings: HubSettings,
  onProgress: (progress: HubProgress) => void,
): Promise<void> {
  const subject = { id, revision: commit };
  const place = { subject, dir };
  const names = new Set(files.keys());
  const weights = await weightFiles(names, async (index) => {
    await fetchFile(place, files.get(index)!, settings);
    return await readText(join(dir, index), "read");
  });
  const lacking = [
    ...lackingTexts(names),
    ...weights.length === 0 ? ["model.safetensors, pytorch_model.bin or an index of shards"] : [],
    ...weights.filter((name) => !names.has(name)),
  ];
  if (lacking.length > 0) {
    throw new Error(
      `Cannot use ${nameOf(subject)}: it has no ${lacking.join(", no ")}; choose another model`,
    );
  }
  const wanted = [...TEXT_FILES.filter((name) => names.has(name)), ...weights];
  await fetchFiles(place, wanted.map((name) => files.get(name)!), settings, onProgress);
}

/** @throws Error when the disk cannot hold what is missing, before the first byte */
async function assertSpace(blobs: string, files: readonly HubFile[]): Promise<void> {
  await makeFolders(blobs);
  const there = await readdir(blobs);
  let needBytes = 0;
  for (const { sizeBytes, hash } of files) {
    const partial = there.find((name) => name.startsWith(`${hash.hex}.`));
    const haveBytes = partial === undefined
      ? 0
      : (await stat(join(blobs, partial)).catch(() => null))?.size ?? 0;
    if (!there.includes(hash.hex)) needBytes += Math.max(0, sizeBytes - haveBytes);
  }
  const { bavail, bsize } = await statfs(blobs);
  if (needBytes <= bavail * bsize) return;
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
  throw new Error(
    `Cannot download into '${blobs}': ${gigabytes(needBytes)} are needed, ` +
      `${gigabytes(bavail * bsize)} are free; ` +
      "free some, or set HF_HOME to a folder on a larger disk",
  );
}

/** Makes `pointer` lead to `blob`, relatively, so that the cache can be moved. */
async function linkBlob(blob: string, pointer: string): Promise<void> {
  try {
    await symlink(relative(dirname(pointer), blob), pointer).catch((error) => {
      // Where symbolic links need a privilege (Windows), a hard link does.
      if (systemCode(error) === "EPERM") return link(blob, pointer);
      throw error;
    });
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw error;
    if (await isThere(pointer)) return; // another process made it
    await rm(pointer, { force: true }); // it led to a blob that was deleted
    await linkBlob(blob, pointer);
  }
}
