/**
 * A run as W&B's programs find it on disk: a folder with the record file, the files that records point to, and a link
 * `latest-run` beside it. `wandb beta sync FOLDER` uploads it, with `--live` while it grows.
 */
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, symlink } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join, relative, resolve } from "node:path";
import { writeWhole } from "../written_whole.ts";
import { extendedJson } from "./extended_json.ts";
import { openRecordLog, type RecordLog } from "./record_log.ts";
import { encodeRecord, readRecord, type RecordContent, type RunDescription, type Values } from "./records.ts";

/** In the run's own folder: under which id and in which folder W&B knows the run. */
const WANDB_RUN_FILE = "wandb_run.json";

/** What stays the same of a run that is stopped and goes on. */
interface RunIdentity {
  id: string;
  /** From the run's own folder, which may be moved. */
  folder: string;
  startSeconds: number;
}

export interface OfflineRunOptions {
  /** The run's own folder. */
  runDir: string;
  /** Holds `offline-run-...`; WANDB_DIR says which, as wandb does. */
  wandbDir: string;
  /** The id that the user wants; null for a new one of 8 characters. */
  id: string | null;
  /** Rows of this and later steps come again: what the file has of them goes away. */
  firstStep: number;
  about: Omit<RunDescription, "id" | "startSeconds" | "host">;
  /** Wall clock, seconds since 1970. */
  now(): number;
}

export interface OfflineRun {
  readonly run: RunDescription;
  /** The folder to sync. */
  readonly folder: string;
  /** The record file in it. */
  readonly file: string;
  /** Step of the last row that the file had; -1 in a new one. */
  readonly lastStep: number;
  /** Rows that the file had. */
  readonly rowCount: number;
  append(content: RecordContent): void;
  /** One row of the history and of the summary, with W&B's own `_step`, `_timestamp` and `_runtime`. */
  row(step: number, values: Values): void;
  /** Writes a table's file. @returns the value that stands for it in a row */
  table(
    key: string,
    step: number,
    columns: readonly string[],
    data: readonly (readonly unknown[])[],
  ): Promise<Values>;
  /** Flushes to the disk, says that the run's process has ended, and closes the file. */
  close(code: number): void;
}

/** `YYYYMMDD_HHMMSS` in UTC. */
const stamp = (seconds: number) =>
  new Date(1000 * seconds).toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "_");

/** @throws SyntaxError when the note is none */
async function knownRun(runDir: string): Promise<RunIdentity | null> {
  const path = join(runDir, WANDB_RUN_FILE);
  if (!existsSync(path)) return null;
  const known = JSON.parse(await readFile(path, "utf8")) as RunIdentity;
  const folder = resolve(runDir, known.folder);
  return existsSync(folder) ? { ...known, folder } : null;
}

/**
 * Opens the run's record file: the one that it had before, where it goes on, else a new one.
 * @throws Error when the file system refuses it
 */
export async function openOfflineRun(options: OfflineRunOptions): Promise<OfflineRun> {
  const { runDir, wandbDir, firstStep, about, now } = options;
  const known = await knownRun(runDir);
  const id = known?.id ?? options.id ?? randomBytes(4).toString("hex");
  const startSeconds = known?.startSeconds ?? now();
  const folder = known?.folder ?? join(wandbDir, `offline-run-${stamp(startSeconds)}-${id}`);
  await mkdir(join(folder, "files"), { recursive: true });
  await mkdir(join(folder, "logs"), { recursive: true });
  if (!known) {
    const identity: RunIdentity = { id, folder: relative(runDir, folder), startSeconds };
    await writeWhole(join(runDir, WANDB_RUN_FILE), `${JSON.stringify(identity)}\n`);
  }
  await linkLatest(folder);

  const file = join(folder, `run-${id}.wandb`);
  let count = 0;
  let lastStep = -1;
  let rowCount = 0;
  const log: RecordLog = openRecordLog(file, (payload) => {
    const { number, kind, step } = readRecord(payload);
    if (kind === "exit" || (kind === "history" && step >= firstStep)) return false;
    count = number;
    if (kind === "history") [lastStep, rowCount] = [step, rowCount + 1];
    return true;
  });
  const append = (content: RecordContent) => log.append(encodeRecord(++count, content));
  if (count === 0) append({ kind: "header" });
  const run: RunDescription = { ...about, id, startSeconds, host: hostname() };
  append({ kind: "run", run });
  return {
    run,
    folder,
    file,
    lastStep,
    rowCount,
    append,
    row(step, values) {
      const seconds = now();
      const row = { ...values, _step: step, _timestamp: seconds, _runtime: seconds - startSeconds };
      append({ kind: "history", step, values: row });
      append({ kind: "summary", values: row });
    },
    async table(key, step, columns, data) {
      const text = extendedJson({ columns, data });
      const sha256 = createHash("sha256").update(text).digest("hex");
      const path = `media/table/${key}_${step}_${sha256.slice(0, 20)}.table.json`;
      await writeWhole(join(folder, "files", path), text);
      append({ kind: "file", path });
      const size = new TextEncoder().encode(text).length;
      const shape = { ncols: columns.length, nrows: data.length };
      return { _type: "table-file", sha256, size, path, ...shape, log_mode: "IMMUTABLE" };
    },
    close(code) {
      append({ kind: "exit", code, runtimeSeconds: now() - startSeconds });
      log.sync();
      log.close();
    },
  };
}

/** `wandb leet` and `wandb beta sync` look for it; a file system without links does without. */
async function linkLatest(folder: string): Promise<void> {
  const link = join(dirname(folder), "latest-run");
  await rm(link, { force: true });
  await symlink(basename(folder), link).catch(() => {});
}
