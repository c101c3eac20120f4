/**
 * SIGINT and SIGTERM ask a run for an orderly end, and end at once what has not begun to train; a second one ends at
 * once whatever it meets.
 */

/** Ended by a signal before there was anything to save. */
export class EndedBySignal extends Error {
  override readonly name = "EndedBySignal";
}

export interface StopSignal {
  shouldStop(): boolean;
  /** 0, or 128 + the signal's number. */
  exitCode(): number;
  /**
   * Waits for work that a signal may cut off anywhere, as it leaves nothing behind. The work is told by `signal`, but
   * not waited for: it may hang in a download.
   * @throws EndedBySignal when a signal came before or comes meanwhile
   */
  untilAsked<R>(work: (signal: AbortSignal) => Promise<R>): Promise<R>;
}

const SIGNALS = { SIGINT: 2, SIGTERM: 15 } as const;

/** Starts to listen. @param print told once, at the first signal */
export function stopSignal(print: (text: string) => void): StopSignal {
  let received: keyof typeof SIGNALS | null = null;
  let preparing = 0;
  const asked = new AbortController();
  for (const name of Object.keys(SIGNALS) as (keyof typeof SIGNALS)[]) {
    process.on(name, () => {
      if (received) process.exit(128 + SIGNALS[name]);
      received = name;
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
    exitCode: () => received ? 128 + SIGNALS[received] : 0,
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
