/**
 * SIGINT, SIGTERM and SIGUSR1 ask a run for an orderly end, and end at once what has not begun to train; a second one
 * ends at once whatever it meets. SIGUSR1 comes from a cluster ahead of a job's end (SLURM: --signal=USR1@300): its
 * exit code asks for the job to be queued again.
 */
import { constants } from "node:os";
import process from "node:process";

/** Ended by a signal before there was anything to save. */
export class EndedBySignal extends Error {
  override readonly name = "EndedBySignal";
}

export interface StopSignal {
  shouldStop(): boolean;
  /** 0, or that of the signal. */
  exitCode(): number;
  /**
   * Waits for work that a signal may cut off anywhere, as it leaves nothing behind. The work is told by `signal`, but
   * not waited for: it may hang in a download.
   * @throws EndedBySignal when a signal came before or comes meanwhile
   */
  untilAsked<R>(work: (signal: AbortSignal) => Promise<R>): Promise<R>;
}

/** 128 + the signal's number, as a shell counts; of SIGUSR1 what a job's script takes for "queue me again". */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGUSR1: 85 } as const;
export type StopSignalName = keyof typeof EXIT_CODES;

/** Windows has no SIGUSR1. */
export const STOP_SIGNALS = (Object.keys(EXIT_CODES) as StopSignalName[])
  .filter((name) => process.platform !== "win32" || name !== "SIGUSR1");

export function exitCodeAfter(name: NodeJS.Signals): number {
  return Object.hasOwn(EXIT_CODES, name) ? EXIT_CODES[name as StopSignalName] : 128 + constants.signals[name];
}

/** Within which npm, a shell and a process group hand the same signal on. */
const HANDED_ON_MS = 1000;

/**
 * Whether one that comes again means nothing new. A job's end is told to each process by Slurm, and to the ranks by its
 * srun once more; what Slurm means to end at once it kills. Elsewhere programs hand on what reached the whole group.
 */
const isRepeated = (name: StopSignalName, sinceMs: number) =>
  name === "SIGUSR1" || (name === "SIGTERM" && process.env.SLURM_JOB_ID !== undefined) ||
  sinceMs < HANDED_ON_MS;

/** Listens in the place of the door, which ends at once for SIGUSR1 a program that does not listen yet. */
export function listen(name: NodeJS.Signals, listener: (name: NodeJS.Signals) => void): void {
  const before = name === "SIGUSR1" ? process.listeners(name) : [];
  process.on(name, listener);
  for (const ofDoor of before) process.off(name, ofDoor);
}

/** Starts to listen. @param print told once, at the first signal */
export function stopSignal(print: (text: string) => void): StopSignal {
  let received: StopSignalName | null = null;
  let receivedAt = 0;
  let preparing = 0;
  const asked = new AbortController();
  for (const name of STOP_SIGNALS) {
    listen(name, () => {
      if (received === name && isRepeated(name, performance.now() - receivedAt)) return;
      if (received) process.exit(EXIT_CODES[name]);
      received = name;
      receivedAt = performance.now();
      print(
        preparing > 0
          ? `\n${name}: ended before the first step; the same command starts again.\n`
          : `\n${name}: finishing this step and saving; once more ends at once and loses the step in progress.\n`,
      );
      asked.abort(new EndedBySignal(`Ended by ${name}`));
    });
  }
  const { signal } = asked;
  return {
    shouldStop: () => received !== null,
    exitCode: () => received ? EXIT_CODES[received] : 0,
    async untilAsked(work) {
      signal.throwIfAborted();
      let end = () => {};
      const isAsked = new Promise<never>((_, reject) => {
        end = () => reject(signal.reason);
        signal.addEventListener("abort", end);
      });
      preparing++;
      try {
        return await Promise.race([work(signal), isAsked]);
      } finally {
        preparing--;
        signal.removeEventListener("abort", end);
      }
    },
  };
}
