/**
 * Signals ask a run for an orderly end, and end at once what has not begun to train. A second one has the step in
 * progress given up and the last whole one saved; a third ends at once whatever it meets. SIGUSR1 and SIGUSR2 come from
 * a cluster ahead of a job's end (SLURM: --signal=USR1@300): their exit code asks for the job to be queued again.
 */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";

/** Ended by a signal before there was anything to save. */
export class EndedBySignal extends Error {
  override readonly name = "EndedBySignal";
}

export interface StopSignal {
  shouldStop(): boolean;
  /** Asked again: what is not done at once is given up. */
  isHurried(): boolean;
  /** 0, or that of the signal. */
  exitCode(): number;
  /**
   * Waits for work that a signal may cut off anywhere, as it leaves nothing behind. The work is told by `signal`, but
   * not waited for: it may hang in a download.
   * @throws EndedBySignal when a signal came before or comes meanwhile
   */
  untilAsked<R>(work: (signal: AbortSignal) => Promise<R>): Promise<R>;
}

/** 128 + the signal's number, as a shell counts; of a cluster's warnings what a job's script takes for "again". */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129, SIGUSR1: 85, SIGUSR2: 85 } as const;
export type StopSignalName = keyof typeof EXIT_CODES;

/** Windows has no SIGUSR1 and SIGUSR2. */
export const STOP_SIGNALS = (Object.keys(EXIT_CODES) as StopSignalName[])
  .filter((name) => process.platform !== "win32" || !name.startsWith("SIGUSR"))
  .filter((name) => name !== "SIGHUP" || !isHangUpIgnored());

/** Whether nohup started the program, so that it outlives its terminal; Node forgets that before it tells. */
function isHangUpIgnored(): boolean {
  try {
    const [, ignored] = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))!;
    return (BigInt(`0x${ignored}`) & 1n) === 1n;
  } catch {
    return false; // not Linux
  }
}

export function exitCodeAfter(name: NodeJS.Signals): number {
  return Object.hasOwn(EXIT_CODES, name) ? EXIT_CODES[name as StopSignalName] : 128 + constants.signals[name];
}

/** Within which npm, a shell and a process group hand the same signal on. */
const HANDED_ON_MS = 1000;

/**
 * Whether another one means nothing new. Programs hand on what reached the whole group; a job's end is told to each
 * process by Slurm, and to the ranks by its srun once more; what Slurm means to end at once it kills. Elsewhere
 * a later Ctrl-C or SIGTERM insists, whatever came first.
 */
const isRepeated = (name: StopSignalName, before: StopSignalName, sinceMs: number) =>
  sinceMs < HANDED_ON_MS || !["SIGINT", "SIGTERM"].includes(name) ||
  (name === before && name === "SIGTERM" && process.env.SLURM_JOB_ID !== undefined);

/** Starts to listen. @param print told once, at the first signal */
export function stopSignal(print: (text: string) => void): StopSignal {
  let received: StopSignalName | null = null;
  let receivedAt = 0;
  let isHurried = false;
  let preparing = 0;
  const asked = new AbortController();
  for (const name of STOP_SIGNALS) {
    process.on(name, () => {
      if (received) {
        if (isRepeated(name, received, performance.now() - receivedAt)) return;
        if (isHurried) process.exit(EXIT_CODES[received]);
        isHurried = true;
        receivedAt = performance.now();
        print(
          `\n${name}: giving up the step in progress and saving the one before; once more ends at once.\n`,
        );
        return;
      }
      received = name;
      receivedAt = performance.now();
      print(
        preparing > 0
          ? `\n${name}: ended before the first step; the same command starts again.\n`
          : `\n${name}: finishing this step and saving; once more saves at once and loses the step in progress.\n`,
      );
      asked.abort(new EndedBySignal(`Ended by ${name}`));
    });
  }
  const { signal } = asked;
  return {
    shouldStop: () => received !== null,
    isHurried: () => isHurried,
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
