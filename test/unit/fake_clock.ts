/** A clock that is moved by hand, or by those who sleep on it. */
import type { Clock } from "../../src/scorer/retry.ts";

export interface FakeClock extends Clock {
  passMs(ms: number): void;
  /** How long each sleep was to be. */
  readonly sleptMs: number[];
}

/** Sleeping takes no time, and moves the clock on. */
export function fakeClock(): FakeClock {
  let nowMs = 0;
  const sleptMs: number[] = [];
  return {
    nowMs: () => nowMs,
    passMs: (ms) => void (nowMs += ms),
    sleptMs,
    async sleep(delayMs, signal) {
      signal?.throwIfAborted();
      sleptMs.push(delayMs);
      nowMs += delayMs;
      // Whoever else is at work has its turn.
      await new Promise((resolve) => setTimeout(resolve, 0));
    },
  };
}
