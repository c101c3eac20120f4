/**
 * Sends a run's record file to W&B's server while it grows, in the background: training never waits, and what the
 * server was away for is sent when it is back, from the file.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { recordsBehind } from "./record_log.ts";
import { type ReadRecord, readRecord } from "./records.ts";
import { type KnownRun, type StreamedLines, type ToldRun, WandbRefusal, type WandbServer } from "./server.ts";

export interface UploadOptions {
  server: WandbServer;
  /** The run's folder: its record file and `files/`. */
  folder: string;
  file: string;
  run: ToldRun;
  /** Rows that the file had when the run began; what the server has beyond them comes again. */
  rowCount: number;
  /** Told once that the run is known there, under which names. */
  onKnown(run: KnownRun): void;
  /** Told once when the server cannot be reached, once when it can again, and of a refusal. */
  onMessage(text: string): void;
  delays?: Partial<UploadDelays>;
}

export interface UploadDelays {
  /** Between looks at the file. */
  lookMs: number;
  /** A server that hears nothing for minutes holds a run for crashed. */
  heartbeatMs: number;
  /** Cap of the delays after faults, which double from `lookMs`. */
  mostMs: number;
}

const DELAYS: UploadDelays = { lookMs: 2000, heartbeatMs: 30_000, mostMs: 60_000 };
/** The server takes up to 10 MiB a request. */
const BATCH_BYTES = 4 * 2 ** 20;

export interface Upload {
  /**
   * Waits until all of the file is sent, or so long.
   * @returns whether all is
   */
  finish(withinMs: number): Promise<boolean>;
}

/** What one request tells, and what is known once it is answered. */
interface Batch {
  history: string[];
  events: string[];
  summary: string | null;
  files: string[];
  exit: ReadRecord | null;
  hasConfig: boolean;
  /** Where the file goes on behind it. */
  end: number;
}

function setNested(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const parents = path.slice(0, -1);
  const parent = parents.reduce((at, key) => (at[key] ??= {}) as Record<string, unknown>, target);
  parent[path.at(-1)!] = value;
}

/** Begins at once. */
export function startUpload(options: UploadOptions): Upload {
  const { server, folder, file, run, onMessage } = options;
  const delays = { ...DELAYS, ...options.delays };
  const config = structuredClone(run.config) as Record<string, unknown>;
  const summary = new Map<string, string>();
  let known: KnownRun | null = null;
  let position = 0;
  let historySent = 0;
  let eventsSent = 0;
  let skipped = 0;
  let isOver = false;
  let isAway = false;
  const stop = new AbortController();
  /** Ends the wait for the next look. */
  let wake = () => {};

  /** Reads records from `position`, as many as go in a request. */
  async function nextBatch(): Promise<Batch> {
    const batch: Batch = {
      history: [],
      events: [],
      summary: null,
      files: [],
      exit: null,
      hasConfig: false,
      end: position,
    };
    let size = 0;
    for await (const { payload, end } of recordsBehind(file, position)) {
      const record = readRecord(payload);
      take(batch, record);
      batch.end = end;
      if ((size += payload.length) > BATCH_BYTES) break;
    }
    return batch;
  }

  function take(batch: Batch, record: ReadRecord): void {
    const line = () =>
      `{${record.items.map(([path, json]) => `${JSON.stringify(path.join("."))}:${json}`).join(",")}}`;
    if (record.kind === "history") batch.history.push(line());
    else if (record.kind === "file") batch.files.push(record.path);
    else if (record.kind === "exit") batch.exit = record;
    else if (record.kind === "summary") {
      for (const [path, json] of record.items) summary.set(path.join("."), json);
      batch.summary = `{${[...summary].map(([key, json]) => `${JSON.stringify(key)}:${json}`).join(",")}}`;
    } else if (record.kind === "system") {
      const items = record.items.map(([[key], json]) => `${JSON.stringify(key)}:${json}`);
      batch.events.push(`{${['"_wandb":true', `"_timestamp":${record.atSeconds}`, ...items].join(",")}}`);
    } else if (record.kind === "config") {
      for (const [path, json] of record.items) setNested(config, path, JSON.parse(json));
      batch.hasConfig = true;
    }
  }

  async function tell(batch: Batch): Promise<void> {
    if (known === null || batch.hasConfig) {
      const answer = await server.upsert({ ...run, config });
      // Rows that the server has are not sent again, but for those that this run makes anew.
      if (known === null) {
        skipped = Math.min(answer.rowCount, options.rowCount);
        options.onKnown(answer);
      }
      known = answer;
    }
    for (const path of batch.files) {
      await server.upload(known, run.id, path, await readFile(join(folder, "files", path)));
    }
    const unsent = batch.history.slice(Math.max(0, skipped - historySent));
    const offset = historySent + batch.history.length - unsent.length;
    const files: Record<string, StreamedLines> = {};
    if (unsent.length > 0) files["wandb-history.jsonl"] = { offset, content: unsent };
    if (batch.events.length > 0) files["wandb-events.jsonl"] = { offset: eventsSent, content: batch.events };
    if (batch.summary !== null) files["wandb-summary.json"] = { offset: 0, content: [batch.summary] };
    await server.stream(known, run.id, {
      ...(Object.keys(files).length > 0 && { files }),
      ...(batch.files.length > 0 && { uploaded: batch.files }),
      ...(batch.exit && { complete: true, exitcode: batch.exit.code }),
    });
    historySent += batch.history.length;
    eventsSent += batch.events.length;
    position = batch.end;
    isOver = batch.exit !== null;
  }

  async function waitForLook(delay: number): Promise<void> {
    const woken = new AbortController();
    wake = () => woken.abort();
    const signal = AbortSignal.any([stop.signal, woken.signal]);
    await sleep(delay, undefined, { signal, ref: false }).catch(() => stop.signal.throwIfAborted());
  }

  async function work(): Promise<void> {
    let faults = 0;
    let heardAt = 0;
    let pending: Batch | null = null;
    while (!isOver) {
      try {
        pending ??= await nextBatch();
        const isEmpty = pending.end === position;
        if (!isEmpty || performance.now() - heardAt > delays.heartbeatMs) {
          await tell(pending);
          heardAt = performance.now();
          if (isAway) onMessage("W&B is back, and gets what it has missed");
          isAway = false;
          faults = 0;
        }
        pending = null;
        if (!isEmpty) continue;
      } catch (error) {
        if (error instanceof WandbRefusal) throw error;
        if (++faults === 3) {
          isAway = true;
          onMessage(
            `W&B cannot be reached (${(error as Error).message}): it gets what it misses when it is back`,
          );
        }
      }
      const delay = Math.min(delays.mostMs, delays.lookMs * 2 ** Math.min(faults, 10));
      await waitForLook(delay);
    }
  }

  const working = work().catch((error) => {
    if (!stop.signal.aborted) onMessage(`W&B gets no more of this run: ${(error as Error).message}`);
  });
  return {
    async finish(withinMs) {
      // The server may be back, and the next look after faults up to a minute away.
      wake();
      const waiting = new AbortController();
      await Promise.race([working, sleep(withinMs, undefined, { signal: waiting.signal }).catch(() => {})]);
      waiting.abort();
      stop.abort();
      return isOver;
    },
  };
}
