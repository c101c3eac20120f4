/** SIGINT and SIGTERM ask for an orderly end; a second one ends at once. */

export interface StopSignal {
  shouldStop(): boolean;
  /** 0, or 128 + the signal's number. */
  exitCode(): number;
}

const SIGNALS = { SIGINT: 2, SIGTERM: 15 } as const;

/** Starts to listen. @param print told once, at the first signal */
export function stopSignal(print: (text: string) => void): StopSignal {
  let received: keyof typeof SIGNALS | null = null;
  for (const name of Object.keys(SIGNALS) as (keyof typeof SIGNALS)[]) {
    process.on(name, () => {
      if (received) process.exit(128 + SIGNALS[name]);
      received = name;
      print(
        `\n${name}: finishing this step and saving; once more ends at once and loses the step in progress.\n`,
      );
    });
  }
  return { shouldStop: () => received !== null, exitCode: () => received ? 128 + SIGNALS[received] : 0 };
}
