/** Passing faults: how long they are waited for. Exponential backoff with full jitter, within a budget of time. */

interface FaultOptions {
  /** What was tried, as "GET /health". */
  request?: string;
  retryAfterMs?: number;
  lasting?: boolean;
  isBusy?: boolean;
  cause?: unknown;
}

/** No answer, or one that says "not now": a refused or reset connection, a timeout, an overloaded server. */
export class ConnectionFault extends Error {
  override readonly name = "ConnectionFault";
  readonly request: string;
  /** The wait the server asked for, in milliseconds. */
  readonly retryAfterMs: number;
  /** Waiting cannot help: a host name that does not exist, a bad certificate. */
  readonly lasting: boolean;
  /** The service is there, and has too much to do. */
  readonly isBusy: boolean;

  constructor(message: string, options: FaultOptions = {}) {
    super(message, { cause: options.cause });
    this.request = options.request ?? "";
    this.retryAfterMs = options.retryAfterMs ?? 0;
    this.lasting = options.lasting ?? false;
    this.isBusy = options.isBusy ?? false;
  }
}

/** Time that passes and is waited for. */
export interface Clock {
  nowMs(): number;
  /** @throws the signal's reason as soon as it is aborted */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

export const WALL_CLOCK: Clock = { nowMs: () => performance.now(), sleep };

export interface RetryPolicy {
  /** What a call may spend on its faults: from the first until they are over. 0: nothing is tried again. */
  maxMs: number;
  /** Cap of the first delay, doubled at each further fault of the same service. */
  baseDelayMs: number;
  /** Cap of every delay of our own; what a service asks for with Retry-After may be more. */
  maxDelayMs: number;
  /** Uniform in [0, 1). */
  random: () => number;
  clock: Clock;
}

/**
 * Milliseconds to wait after the fault number `faults` in a row (from 1): U[0,1) * min(maxDelay, base * 2^(faults-1)).
 *
 * Full jitter spreads the clients that one restart of the server threw off at the same moment
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
export function backoffMs(
  faults: number,
  { baseDelayMs, maxDelayMs, random }: Pick<RetryPolicy, "baseDelayMs" | "maxDelayMs" | "random">,
): number {
  return random() * Math.min(maxDelayMs, baseDelayMs * 2 ** (faults - 1));
}

/**
 * What one call may spend on faults, shared by its requests: the time in which at least one of them has failed and has
 * not yet succeeded. Work that goes well costs nothing, however long it takes.
 */
export class RetryBudget {
  readonly maxMs: number;
  readonly #clock: Clock;
  #troubled = 0;
  #sinceMs = 0;
  #spentMs = 0;

  constructor({ maxMs, clock }: Pick<RetryPolicy, "maxMs" | "clock">) {
    this.maxMs = maxMs;
    this.#clock = clock;
  }

  /** A request has failed, or finds no service to ask. */
  begin(): void {
    if (this.#troubled++ === 0) this.#sinceMs = this.#clock.nowMs();
  }

  /** It has succeeded, or was given up. */
  end(): void {
    if (--this.#troubled === 0) this.#spentMs += this.#clock.nowMs() - this.#sinceMs;
  }

  get spentMs(): number {
    return this.#spentMs + (this.#troubled > 0 ? this.#clock.nowMs() - this.#sinceMs : 0);
  }

  get leftMs(): number {
    return this.maxMs - this.spentMs;
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
