/** Retries of passing faults: exponential backoff with full jitter and a cap. */

/** No answer, or one that says "not now": a refused or reset connection, a timeout, an overloaded server. */
export class ConnectionFault extends Error {
  override readonly name = "ConnectionFault";
  /** The wait the server asked for, in milliseconds. */
  readonly retryAfterMs: number;
  /** Waiting cannot help: a host name that does not exist, a bad certificate. */
  readonly lasting: boolean;

  constructor(message: string, options: { retryAfterMs?: number; lasting?: boolean; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.retryAfterMs = options.retryAfterMs ?? 0;
    this.lasting = options.lasting ?? false;
  }
}

export interface RetryEvent {
  /** Number of the attempt that failed, from 1. */
  attempt: number;
  maxRetries: number;
  delayMs: number;
  error: Error;
}

export interface RetryPolicy {
  /** Attempts after the first. */
  maxRetries: number;
  baseDelayMs: number;
  maxDelayMs: number;
  /** Uniform in [0, 1). */
  random: () => number;
  sleep: (delayMs: number, signal?: AbortSignal) => Promise<void>;
  onRetry?: (event: RetryEvent) => void;
}

/**
 * Milliseconds to wait after failed attempt `attempt` (from 1).
 *
 *   delay = max(retryAfter, U[0,1) * base * 2^(attempt-1)), at most maxDelayMs
 *
 * Full jitter spreads the clients that one restart of the server threw off at the same moment
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
export function backoffMs(attempt: number, retryAfterMs: number, policy: RetryPolicy): number {
  const ceilingMs = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (attempt - 1));
  return Math.min(policy.maxDelayMs, Math.max(retryAfterMs, policy.random() * ceilingMs));
}

/**
 * Runs `request` until it succeeds or fails for good, `1 + maxRetries` times at most.
 *
 * @throws what `request` throws when that is no ConnectionFault; else `onExhausted(attempts, lastFault)`
 */
export async function withRetries<T>(
  request: () => Promise<T>,
  policy: RetryPolicy,
  onExhausted: (attempts: number, lastFault: ConnectionFault) => Error,
  signal?: AbortSignal,
): Promise<T> {
  for (let attempt = 1;; attempt++) {
    try {
      return await request();
    } catch (error) {
      if (!(error instanceof ConnectionFault)) throw error;
      if (error.lasting || attempt > policy.maxRetries) throw onExhausted(attempt, error);
      const delayMs = backoffMs(attempt, error.retryAfterMs, policy);
      policy.onRetry?.({ attempt, maxRetries: policy.maxRetries, delayMs, error });
      await policy.sleep(delayMs, signal);
    }
  }
}

/** Resolves after `delayMs`; rejects with the signal's reason as soon as it is aborted. */
export function sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** A Retry-After header (RFC 9110, 10.2.3) in ms: seconds, or an HTTP date less `nowMs`; 0 if unreadable. */
export function parseRetryAfterMs(header: string | null, nowMs: number): number {
  if (header === null) return 0;
  if (/^\s*\d+\s*$/.test(header)) return Number(header) * 1000;
  const atMs = Date.parse(header);
  return Number.isNaN(atMs) ? 0 : Math.max(0, atMs - nowMs);
}
