/** How much may wait at a scorer service: tokens to be read and bytes of requests. What is more is to come later. */
import { Refusal, retryAfter } from "./refusal.ts";

export interface Limits {
  /** Tokens that may wait, at most as many as texts can have. One request alone may be larger. */
  queueTokens: number;
  /** Bytes of requests that are being read or wait. */
  queueBytes: number;
}

export interface Admission {
  /**
   * @returns what is called once it is done
   * @throws Refusal when too much waits: 429
   */
  admit(kind: "tokens" | "bytes", amount: number): () => void;
  waiting(kind: "tokens" | "bytes"): number;
}

/** The longest that a client is asked to wait, in seconds. */
const LONGEST_WAIT_S = 60;

/** @param nowMs milliseconds of a clock that never goes back */
export function createAdmission(
  { queueTokens, queueBytes }: Limits,
  nowMs: () => number = () => performance.now(),
): Admission {
  const most = { tokens: queueTokens, bytes: queueBytes };
  const waiting = { tokens: 0, bytes: 0 };
  /** Since something waits without a break: from when, and how many tokens have been done. */
  let busy = { sinceMs: 0, tokens: 0 };

  /** Until half of what waits is done, as fast as it has gone. */
  function waitSeconds(): number {
    const seconds = (nowMs() - busy.sinceMs) / 1000;
    return Math.min(LONGEST_WAIT_S, busy.tokens > 0 ? waiting.tokens / 2 * seconds / busy.tokens : 1);
  }

  return {
    admit(kind, amount) {
      if (waiting[kind] > 0 && waiting[kind] + amount > most[kind]) {
        throw new Refusal(
          429,
          `Too much waits: ${waiting[kind]} ${kind} and ${amount} more are over ${
            most[kind]
          }; ask again later, or ` +
            "start another scorer",
          retryAfter(waitSeconds()),
        );
      }
      if (kind === "tokens" && waiting.tokens === 0) busy = { sinceMs: nowMs(), tokens: 0 };
      waiting[kind] += amount;
      let isDone = false;
      return () => {
        if (isDone) return;
        isDone = true;
        waiting[kind] -= amount;
        if (kind === "tokens") busy.tokens += amount;
      };
    },
    waiting: (kind) => waiting[kind],
  };
}
