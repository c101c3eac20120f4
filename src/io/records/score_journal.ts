// score_journal-<rank>.jsonl: what a scorer answered since the last checkpoint, so that a run which is killed and goes
// on from there does not ask again, and has the same scores where a scorer's differ from one time to the next.
//
// A line is a checksum and {"key", "rewards", "costs", "named"}. The key stands for all that was asked, so a line can
// only be taken where the very same is asked again. A checkpoint makes all lines needless: the file goes.
//
// Durability: as that of metrics.jsonl without its sync(). What a power cut takes is asked again.

import { createHash } from "node:crypto";
import { closeSync, ftruncateSync, lstatSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { explainFsError, messageOf } from "../files/errors.ts";
import { stringifyExact } from "../files/exact_json.ts";
import { isJsonObject } from "../files/json_object.ts";

const NAME = /^score_journal-(0|[1-9]\d{0,6})\.jsonl$/;
/** Far more than the scores between two checkpoints take. */
const MOST_BYTES = 2 ** 30;
const CHECK_LENGTH = 16;

interface Scores {
  rewards: number[];
  costs: number[];
  /** A number may be NaN, which JSON has as null. */
  named?: Record<string, number[]>;
}

export interface ScoreJournalFile {
  /** What was answered to a question of `count` answers before this process began, once; null where nothing was. */
  take(key: string, count: number): Scores | null;
  /** Keeps an answer, or says once why it cannot. */
  put(key: string, scores: Scores): void;
  /** After a checkpoint: nothing before it is asked again. */
  clear(): void;
  close(): void;
}

const checkOf = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, CHECK_LENGTH);

const isNumbers = (value: unknown): value is number[] => Array.isArray(value) && value.every(Number.isFinite);

/** The scores of a line's JSON, with their key; null where they are none. */
function entryOf(text: string): { key: string; scores: Scores } | null {
  const { key, rewards, costs, named } = JSON.parse(text) as Record<string, unknown>;
  if (typeof key !== "string" || !isNumbers(rewards) || !isNumbers(costs)) return null;
  if (named === undefined) return { key, scores: { rewards, costs } };
  if (!isJsonObject(named)) return null;
  const read = Object.entries(named).map(([name, values]) =>
    [name, Array.isArray(values) ? values.map((value) => value ?? NaN) : []] as const
  );
  return { key, scores: { rewards, costs, named: Object.fromEntries(read) } };
}

function lineOf(key: string, { rewards, costs, named }: Scores): string {
  const nullable = Object.entries(named ?? {}).map(([name, values]) =>
    [name, values.map((value) => Number.isNaN(value) ? null : value)] as const
  );
  const text = stringifyExact({ key, rewards, costs, ...(named && { named: Object.fromEntries(nullable) }) });
  return `${checkOf(text)} ${text}\n`;
}

/** What a file holds by key, and how long its whole lines are; a line that was changed is passed over. */
function read(path: string): { known: Map<string, Scores[]>; sizeBytes: number } {
  const known = new Map<string, Scores[]>();
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found) return { known, sizeBytes: 0 };
  if (!found.isFile()) throw new Error(`'${path}' is no plain file; remove it`);
  if (found.size > MOST_BYTES) throw new Error(`'${path}' has ${found.size} bytes; remove it`);
  const bytes = readFileSync(path);
  const sizeBytes = bytes.lastIndexOf(0x0a) + 1;
  for (const line of bytes.subarray(0, sizeBytes).toString("utf8").split("\n")) {
    const text = line.slice(CHECK_LENGTH + 1);
    if (text === "" || checkOf(text) !== line.slice(0, CHECK_LENGTH)) continue;
    const entry = entryOf(text);
    if (entry) known.set(entry.key, [...known.get(entry.key) ?? [], entry.scores]);
  }
  return { known, sizeBytes };
}

/**
 * Opens a rank's journal in the run's folder. Its file is there from the first answer to the next checkpoint. Never
 * throws: a run goes on without it, and asks again.
 * @param onMessage told once why there is none any more
 */
export function openScoreJournal(
  runDir: string,
  rank: number,
  onMessage: (text: string) => void,
): ScoreJournalFile {
  const path = join(runDir, `score_journal-${rank}.jsonl`);
  let descriptor: number | null = null;
  let known = new Map<string, Scores[]>();
  let sizeBytes = 0;
  let isUsable = true;
  /** Takes no more room from a disk that may be full. */
  const giveUp = () => {
    try {
      close();
      if (lstatSync(path, { throwIfNoEntry: false })?.isFile()) rmSync(path);
    } catch {
      // It is done without; what stays harms nothing.
    }
  };
  const guarded = (action: string, run: () => void) => {
    if (!isUsable) return;
    try {
      run();
    } catch (error) {
      isUsable = false;
      giveUp();
      onMessage(
        `Scores are not journalled: ${
          messageOf(explainFsError(error, action, path))
        }; training goes on, and a run ` +
          "that is killed asks the scorer again",
      );
    }
  };
  const close = () => {
    const open = descriptor;
    descriptor = null;
    if (open !== null) closeSync(open);
  };
  guarded("read", () => ({ known, sizeBytes } = read(path)));
  return {
    take(key, count) {
      const scores = known.get(key)?.shift();
      if (!scores) return null;
      const isOf = ({ length }: readonly number[]) => length === count || length === 0;
      const lists = [scores.rewards, scores.costs, ...Object.values(scores.named ?? {})];
      return lists.every(isOf) ? scores : null;
    },
    put: (key, scores) =>
      guarded("append to", () => {
        if (descriptor === null) {
          descriptor = openSync(path, "a");
          ftruncateSync(descriptor, sizeBytes); // a last line that is torn, of a run that was killed
        }
        const bytes = new TextEncoder().encode(lineOf(key, scores));
        for (let done = 0; done < bytes.length;) {
          done += writeSync(descriptor, bytes, done, bytes.length - done);
        }
      }),
    clear() {
      guarded("remove", () => {
        close();
        known.clear();
        sizeBytes = 0;
        rmSync(path, { force: true });
      });
    },
    close: () => guarded("close", close),
  };
}

/**
 * Removes the journals of ranks that are no more.
 * @param size ranks that there are
 */
export async function removeOtherJournals(runDir: string, size: number): Promise<void> {
  const names = await readdir(runDir).catch(() => []); // what stays harms nothing
  for (const name of names) {
    if (Number(NAME.exec(name)?.[1] ?? -1) >= size) {
      await rm(join(runDir, name), { force: true }).catch(() => {});
    }
  }
}
