// Checkpoint folders: everything a run needs to go on, complete or absent.
//
//   <runDir>/checkpoint-<step>/
//     model.safetensors          weights, so that `transformers` opens the folder; of a run that trains adapters
//                                adapter_model.safetensors instead, for `peft`
//     optimizer.safetensors      named optimizer tensors; or shards of them, see optimizer_shards.ts
//     trainer_state.json         {"version", "step", "state"}; doubles come back bit for bit
//     config.json, tokenizer...  copies of the model's own small files
//     checkpoint_manifest.json   size and SHA-256 of each file above, written last

import { createHash } from "node:crypto";
import { copyFile, type FileHandle, lstat, open, readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { shortJson } from "../../config/parsed_json.ts";
import { removeDirectoryAtomic, writeDirectoryAtomic, writeFileAtomic } from "../files/atomic_files.ts";
import { explainFsError, messageOf, systemCode } from "../files/errors.ts";
import { stringifyExact } from "../files/exact_json.ts";
import { openSafetensors, type TensorSource, writeSafetensors } from "../tensors/safetensors.ts";
import type { TensorReader } from "../tensors/tensor_reader.ts";
import { openOptimizer, optimizerFile, optimizerFilesIn } from "./optimizer_shards.ts";

const VERSION = 1;
/** Far more than the names of a checkpoint's files take. */
const MOST_MANIFEST_BYTES = 2 ** 24;
const MANIFEST = "checkpoint_manifest.json";
const WEIGHTS = ["model.safetensors", "adapter_model.safetensors"] as const;
const STATE = "trainer_state.json";
const FOLDER = /^checkpoint-(0|[1-9]\d{0,14})$/;

/** What the trained weights are called: a whole model's, or an adapter's. */
export type WeightsFile = (typeof WEIGHTS)[number];

export interface CheckpointContent {
  /** Optimizer steps done; names the folder. */
  readonly step: number;
  readonly weightsFile: WeightsFile;
  readonly weights: Iterable<TensorSource>;
  readonly optimizer: Iterable<TensorSource>;
  /** Any JSON-safe value: lambda, counters, data position, config. */
  readonly state: unknown;
  /** Paths of config and tokenizer files to copy in under their own names. */
  readonly modelFiles: readonly string[];
  /** Given: other processes write shards of the optimizer beside this one's, `optimizer`. */
  readonly partners?: Partners;
}

/** Processes that write into the folder of another. */
export interface Partners {
  /** Of them all. */
  readonly size: number;
  /** Tells them of the unfinished folder, into which they may write from now on. */
  begin(partialDir: string): Promise<void>;
  /** Waits for them. @returns what they have written @throws Error when one of them could not */
  end(): Promise<readonly ManifestFile[]>;
}

export interface Checkpoint {
  readonly dir: string;
  readonly step: number;
  /** What was saved; the trainer checks its fields. */
  readonly state: unknown;
  /** The file that holds it. */
  readonly statePath: string;
  readonly weights: TensorReader;
  readonly optimizer: TensorReader;
  close(): Promise<void>;
}

/** A file as the manifest has it. */
export interface ManifestFile {
  readonly name: string;
  readonly size_bytes: number;
  readonly sha256: string;
}

/**
 * Writes `<runDir>/checkpoint-<step>` and returns its path; an older folder of that step is replaced.
 * After an error no new folder is there.
 * @throws TypeError when JSON cannot hold the state
 * @throws RangeError when the step or a file's name is none
 * @throws Error when the folder cannot be written; it says why and what to do
 */
export async function saveCheckpoint(runDir: string, content: CheckpointContent): Promise<string> {
  const { step, weightsFile, weights, optimizer, state, modelFiles, partners } = content;
  const optimizerName = optimizerFile(0, partners?.size ?? 1);
  const dir = join(runDir, `checkpoint-${step}`);
  if (!FOLDER.test(basename(dir))) {
    throw new RangeError(`Cannot save checkpoint ${step}: step is no whole number >= 0`);
  }
  const names = [weightsFile, optimizerName, STATE, MANIFEST, ...modelFiles.map((path) => basename(path))];
  const taken = names.find((name, i) => names.indexOf(name) !== i);
  if (taken !== undefined) {
    throw new RangeError(`Cannot save '${dir}': two files are named ${taken}; rename one`);
  }
  const stateJson = stringifyExact({ version: VERSION, step, state }, 2);
  await writeDirectoryAtomic(dir, async (partial) => {
    await partners?.begin(partial);
    await writeSafetensors(join(partial, weightsFile), weights);
    await writeSafetensors(join(partial, optimizerName), optimizer);
    await writeFileAtomic(join(partial, STATE), `${stateJson}\n`);
    for (const path of modelFiles) {
      await copyFile(path, join(partial, basename(path))).catch((error) => {
        throw explainFsError(error, "copy", path);
      });
    }
    const files: ManifestFile[] = [];
    for (const name of names.filter((name) => name !== MANIFEST)) {
      files.push({ name, ...await fingerprint(join(partial, name)) });
    }
    files.push(...await partners?.end() ?? []);
    await writeFileAtomic(
      join(partial, MANIFEST),
      `${stringifyExact({ version: VERSION, step, files }, 2)}\n`,
    );
  });
  return dir;
}

/**
 * Writes a process's shard of the optimizer into the folder that another has begun.
 * @param rank from 1: the one that began it is 0
 * @throws Error when it cannot be written; it says why and what to do
 */
export async function writeOptimizerShard(
  partialDir: string,
  { rank, size }: { rank: number; size: number },
  tensors: Iterable<TensorSource>,
): Promise<ManifestFile> {
  const name = optimizerFile(rank, size);
  await writeSafetensors(join(partialDir, name), tensors);
  return { name, ...await fingerprint(join(partialDir, name)) };
}

/** Size and SHA-256 of a file, read in pieces. */
async function fingerprint(path: string): Promise<{ size_bytes: number; sha256: string }> {
  const hash = createHash("sha256");
  const piece = new Uint8Array(4 << 20);
  const handle: FileHandle = await open(path, "r");
  try {
    for (let size_bytes = 0;;) {
      const { bytesRead } = await handle.read(piece, 0, piece.length, null);
      if (bytesRead === 0) return { size_bytes, sha256: hash.digest("hex") };
      hash.update(piece.subarray(0, bytesRead));
      size_bytes += bytesRead;
    }
  } finally {
    await handle.close();
  }
}

/**
 * Opens a checkpoint after checking every file against the manifest (sizes first, then SHA-256).
 * @throws Error when a file, which it names, is missing or changed, or the version is not understood
 */
export async function loadCheckpoint(dir: string): Promise<Checkpoint> {
  return await openVerified(dir, await verifyCheckpoint(dir, "sizes and hashes"));
}

async function openVerified(
  dir: string,
  { step, weightsFile, optimizerFiles }: Manifest,
): Promise<Checkpoint> {
  const statePath = join(dir, STATE);
  const state = stateOf(await readFile(statePath, "utf8"), step, dir);
  const weights = await openSafetensors(join(dir, weightsFile));
  try {
    const optimizer = await openOptimizer(dir, optimizerFiles);
    const close = async () => {
      await weights.close();
      await optimizer.close();
    };
    return { dir, step, state, statePath, weights, optimizer, close };
  } catch (error) {
    await weights.close();
    throw error;
  }
}

/** Bytes of a file, or what lies there instead: what is no plain file is never opened, for that may take for ever. */
async function plainSize(path: string): Promise<number | string> {
  const found = await lstat(path).catch(() => null);
  if (found === null) return "no such file";
  if (found.isFile()) return found.size;
  return found.isSymbolicLink() ? "a link" : found.isDirectory() ? "a folder" : "a device, pipe or socket";
}

/** @throws Error when the text is no state of this version and step */
function stateOf(text: string, step: number, dir: string): unknown {
  let saved: unknown;
  try {
    saved = JSON.parse(text);
  } catch (cause) {
    throw new Error(
      `Cannot load '${dir}': ${STATE} is damaged (${messageOf(cause)}); use another checkpoint`,
      { cause },
    );
  }
  const { version, step: ofState, state } = (saved ?? {}) as Readonly<Record<string, unknown>>;
  if (version !== VERSION || ofState !== step) {
    const [key, found, required] = version === VERSION
      ? ["step", ofState, step]
      : ["version", version, VERSION];
    throw new Error(
      `Cannot load '${dir}': ${STATE} has ${key} ${
        shortJson(found)
      }, required ${required}; use another checkpoint`,
    );
  }
  return state;
}

/** What a manifest says of its folder. */
interface Manifest {
  step: number;
  weightsFile: WeightsFile;
  optimizerFiles: readonly string[];
  files: ManifestFile[];
}

/**
 * Checks a folder against its manifest.
 * @throws Error when they differ; it names the first difference
 */
async function verifyCheckpoint(dir: string, depth: "sizes" | "sizes and hashes"): Promise<Manifest> {
  const manifest = await readManifest(dir);
  const { files } = manifest;
  const fault = (name: string, required: unknown, actual: unknown) =>
    new Error(
      `Cannot load '${dir}': ${name} is damaged: required ${required} (by ${MANIFEST}), got ${actual}; ` +
        "use another checkpoint",
    );
  for (const file of files) {
    const size = await plainSize(join(dir, file.name));
    if (size !== file.size_bytes) throw fault(file.name, `${file.size_bytes} bytes`, size);
  }
  if (depth === "sizes") return manifest;
  for (const file of files) {
    const { sha256 } = await fingerprint(join(dir, file.name));
    if (sha256 !== file.sha256) throw fault(file.name, `SHA-256 ${file.sha256}`, sha256);
  }
  return manifest;
}

async function readManifest(dir: string): Promise<Manifest> {
  let manifest: { version?: unknown; step?: unknown; files?: unknown } | null;
  const size = await plainSize(join(dir, MANIFEST));
  if (size !== "no such file" && (typeof size === "string" || size > MOST_MANIFEST_BYTES)) {
    throw new Error(
      `Cannot load '${dir}': ${MANIFEST} is damaged: required a plain file of at most ${MOST_MANIFEST_BYTES} bytes, ` +
        `got ${typeof size === "string" ? size : `${size} bytes`}; use another checkpoint`,
    );
  }
  try {
    manifest = JSON.parse(await readFile(join(dir, MANIFEST), "utf8"));
  } catch (error) {
    if (systemCode(error) === "ENOENT") {
      throw new Error(
        `Cannot load '${dir}': no complete checkpoint, ${MANIFEST} is missing; use another checkpoint`,
      );
    }
    if (!(error instanceof SyntaxError)) throw explainFsError(error, "read", join(dir, MANIFEST));
    throw new Error(
      `Cannot load '${dir}': ${MANIFEST} is damaged (${error.message}); use another checkpoint`,
    );
  }
  const { version, step, files } = manifest ?? {};
  if (version !== VERSION) {
    throw new Error(
      `Cannot load '${dir}': ${MANIFEST} has version ${shortJson(version)}, required ${VERSION}`,
    );
  }
  const named = Array.isArray(files) ? files.filter(isManifestFile) : [];
  const holds = (name: string) => named.some((file) => file.name === name);
  const weightsFile = WEIGHTS.find(holds);
  const optimizerFiles = optimizerFilesIn(named.map(({ name }) => name));
  if (
    !weightsFile || !optimizerFiles || !holds(STATE) || !Array.isArray(files) ||
    named.length !== files.length || !Number.isSafeInteger(step) ||
    `checkpoint-${step}` !== basename(dir)
  ) {
    throw new Error(
      `Cannot load '${dir}': ${MANIFEST} does not describe this folder; use another checkpoint`,
    );
  }
  return { step: step as number, weightsFile, optimizerFiles, files: named };
}

function isManifestFile(entry: unknown): entry is ManifestFile {
  const { name, size_bytes, sha256 } = (entry ?? {}) as Partial<Record<keyof ManifestFile, unknown>>;
  // Plain names only: a manifest must not reach outside its folder.
  return typeof name === "string" && /^[^/\\\0]+$/.test(name) && name !== "." && name !== ".." &&
    Number.isSafeInteger(size_bytes) && typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256);
}

/** Steps that have a checkpoint folder, whole or not, lowest first; none when the run folder does not exist. */
async function stepsIn(runDir: string): Promise<number[]> {
  try {
    const steps = (await readdir(runDir)).flatMap((name) => {
      const match = FOLDER.exec(name);
      return match === null ? [] : [Number(match[1])];
    });
    return steps.sort((a, b) => a - b);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [];
    throw explainFsError(error, "list", runDir);
  }
}

interface Newest {
  /** undefined when there is none to go on from. */
  good: { dir: string; manifest: Manifest } | undefined;
  /** The newer ones that are not, with the reason, for the log. */
  skipped: { dir: string; reason: string }[];
}

/** The newest checkpoint that passes every check. */
async function newestGood(runDir: string): Promise<Newest> {
  const skipped: Newest["skipped"] = [];
  for (const step of (await stepsIn(runDir)).reverse()) {
    const dir = join(runDir, `checkpoint-${step}`);
    try {
      return { good: { dir, manifest: await verifyCheckpoint(dir, "sizes and hashes") }, skipped };
    } catch (error) {
      skipped.push({ dir, reason: messageOf(error) });
    }
  }
  return { good: undefined, skipped };
}

/** Where the newest checkpoint lies that passes every check; `dir` is undefined when there is none. */
export async function latestCheckpoint(
  runDir: string,
): Promise<{ dir: string | undefined; skipped: Newest["skipped"] }> {
  const { good, skipped } = await newestGood(runDir);
  return { dir: good?.dir, skipped };
}

/**
 * Opens the newest checkpoint that passes every check, with its files read once for that: they may be a 7B's 100 GB.
 * @throws Error as loadCheckpoint for what its manifest vouches for and is not understood
 */
export async function openLatestCheckpoint(
  runDir: string,
): Promise<{ checkpoint: Checkpoint | undefined; skipped: Newest["skipped"] }> {
  const { good, skipped } = await newestGood(runDir);
  return { checkpoint: good && await openVerified(good.dir, good.manifest), skipped };
}

export interface Kept {
  /** The one just saved. */
  newestStep?: number;
  /** The best one, if one is. */
  bestStep?: number;
}

/**
 * Deletes the oldest checkpoints until `saveTotalLimit` are left and returns the deleted folders. The best one counts,
 * but is not deleted, nor is the newest, so that of a limit of 1 two may be left, as transformers has it.
 * Damaged ones do not count: a damaged newest one must not push out the last good one. Nor do those of steps beyond
 * `newestStep`: a run that has not come so far found them damaged. The one just saved was hashed as it was written; of
 * those that stay beside it the newest is hashed again, so that two are known to be good.
 * @throws RangeError when the limit is no whole number >= 1
 * @throws Error when one cannot be deleted; it says why and what to do
 */
export async function pruneCheckpoints(
  runDir: string,
  saveTotalLimit: number,
  { newestStep = Infinity, bestStep }: Kept = {},
): Promise<string[]> {
  if (!Number.isSafeInteger(saveTotalLimit) || saveTotalLimit < 1) {
    throw new RangeError(
      `Cannot keep ${saveTotalLimit} checkpoints: save_total_limit must be a whole number >= 1`,
    );
  }
  const isGood = (dir: string, depth: "sizes" | "sizes and hashes") =>
    verifyCheckpoint(dir, depth).then(() => true, () => false);
  const complete: string[] = [];
  let room = saveTotalLimit;
  for (const step of await stepsIn(runDir)) {
    const dir = join(runDir, `checkpoint-${step}`);
    if (step > newestStep) break;
    if (!await isGood(dir, "sizes")) continue;
    if (step === bestStep && step !== newestStep) room = Math.max(1, room - 1);
    else complete.push(dir);
  }
  const older = () => complete.slice(0, -1);
  if (room > 1 && complete.length > room) {
    while (older().length > 0 && !await isGood(older().at(-1)!, "sizes and hashes")) complete.splice(-2, 1);
  }
  const surplus = complete.slice(0, Math.max(0, complete.length - room));
  for (const dir of surplus) await removeDirectoryAtomic(dir);
  return surplus;
}
