/** Services that are asked as one: the least busy first, another where one fails, all within one budget of time. */
import { ScorerContractError, ScorerUnavailableError } from "./errors.ts";
import { Endpoint, type EndpointOptions } from "./endpoint.ts";
import type { Health } from "./protocol.ts";
import { ConnectionFault, RetryBudget } from "./retry.ts";
import type { Services } from "./services.ts";

/** A request has failed, and is tried again. */
export interface RetryEvent {
  url: string;
  error: Error;
  /** Whether it has ever answered as a scorer does. */
  isKnown: boolean;
  /** Of the call's budget. */
  spentMs: number;
  maxMs: number;
}

export interface PoolEvents {
  /** A fault that is tried again. */
  onRetry?(event: RetryEvent): void;
  /** A request that had failed has succeeded, so long after its first fault. */
  onRecovered?(event: { url: string; spentMs: number }): void;
  /** One of several services does not answer at the start; the others are asked. */
  onAbsent?(event: { url: string; error: Error }): void;
  /** Files that will hold addresses are waited for. */
  onWait?(paths: string): void;
}

export interface PoolOptions extends EndpointOptions {
  services: Services;
  /** Breaks ties between services that are as busy: this rank's first one is number rank % n. */
  rank: number;
  events: PoolEvents;
}

/** How one request fares. */
interface Attempts {
  count: number;
  tried: Set<Endpoint>;
  fault: ConnectionFault | null;
  signal?: AbortSignal;
}

export class ScorerPool {
  /** Attempts beyond the first of each request, and the time that calls spent on faults; since the last `take`. */
  #stats = { retries: 0, waitMs: 0 };
  #endpoints: Endpoint[] = [];
  readonly #options: PoolOptions;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  takeStats(): { retries: number; waitMs: number } {
    const stats = this.#stats;
    this.#stats = { retries: 0, waitMs: 0 };
    return stats;
  }

  get size(): number {
    return this.#endpoints.length;
  }

  /** Runs a call whose requests share a budget. Services are read before it, or waited for where there is none yet. */
  async call<T>(
    body: (budget: RetryBudget) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const { services, policy, events: { onWait } } = this.#options;
    // Those whose address is not written yet join the others once it is.
    if (this.size < services.addresses.length) await this.#refresh();
    if (this.size === 0) {
      await services.wait({ signal, onWait });
      await this.#refresh();
    }
    const budget = new RetryBudget(policy);
    try {
      return await body(budget);
    } finally {
      this.#stats.waitMs += budget.spentMs;
    }
  }

  /**
   * The health of a service that is well. Of several each is asked, and those that do not answer are told.
   * @throws ScorerUnavailableError or ScorerContractError when `request` does
   */
  async health(signal?: AbortSignal): Promise<Health> {
    return await this.call(async (budget) => {
      const health = await this.request(budget, (endpoint) => endpoint.health(signal), signal);
      if (this.size === 1) return health;
      await Promise.all(this.#endpoints.map(async (endpoint) => {
        try {
          await endpoint.health(signal);
        } catch (error) {
          if (!(error instanceof ConnectionFault)) throw error;
          endpoint.failed(error);
          this.#options.events.onAbsent?.({ url: endpoint.url, error });
        }
      }));
      return health;
    }, signal);
  }

  /**
   * One request, asked of one service after the other until it succeeds.
   * @throws ScorerUnavailableError when all have failed and the budget is spent, or asked for a longer wait
   * @throws ScorerContractError when one answers what is no score, whatever others would say
   * @throws the signal's reason when it is aborted
   */
  async request<T>(
    budget: RetryBudget,
    ask: (endpoint: Endpoint) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const { events } = this.#options;
    const attempts: Attempts = { count: 0, tried: new Set(), fault: null, signal };
    const begin = begunOnce(budget);
    try {
      for (;;) {
        const endpoint = await this.#takeFree(budget, attempts, begin);
        if (attempts.count++ > 0) this.#stats.retries++;
        try {
          await endpoint.health(signal);
          const value = await ask(endpoint);
          endpoint.succeeded();
          if (attempts.fault) events.onRecovered?.({ url: endpoint.url, spentMs: budget.spentMs });
          return value;
        } catch (error) {
          if (await this.#hasNewToken(endpoint, error)) continue;
          if (!(error instanceof ConnectionFault)) throw error;
          begin();
          attempts.fault = error;
          attempts.tried.add(endpoint);
          endpoint.failed(error);
          this.#assertMayGoOn(budget, attempts);
          const { url, isKnown } = endpoint;
          events.onRetry?.({ url, error, isKnown, spentMs: budget.spentMs, maxMs: budget.maxMs });
        } finally {
          endpoint.inFlight--;
        }
      }
    } finally {
      begin.end();
    }
  }

  /** Takes the least busy of those that may be asked now; waits for the first where none may. */
  async #takeFree(budget: RetryBudget, attempts: Attempts, begin: () => void): Promise<Endpoint> {
    const { policy: { clock } } = this.#options;
    for (;;) {
      attempts.signal?.throwIfAborted();
      const usable = this.#endpoints.filter(({ isLost }) => !isLost);
      const nowMs = clock.nowMs();
      const free = usable.filter(({ readyAtMs }) => readyAtMs <= nowMs);
      if (free.length > 0) return taken(this.#leastBusy(free));
      begin();
      if (usable.length === 0) throw this.#unavailable(budget, attempts);
      const first = usable.reduce((a, b) => b.readyAtMs < a.readyAtMs ? b : a);
      const askedMs = Math.min(...usable.map(({ askedUntilMs }) => askedUntilMs)) - nowMs;
      if (askedMs > budget.leftMs) {
        const [asked, left] = [askedMs, budget.leftMs].map((ms) => Math.max(0, ms / 1000).toFixed(0));
        const why = `it asks to be left alone for ${asked} s, and ${left} s of scorer_retry_max_s are left`;
        throw this.#unavailable(budget, attempts, why);
      }
      const waitMs = Math.max(0, first.readyAtMs - nowMs);
      await clock.sleep(Math.min(waitMs, Math.max(0, budget.leftMs)), attempts.signal);
      await this.#refresh();
      // The last try, at the end of the budget, though the wait was to be longer.
      if (waitMs > budget.leftMs && this.#endpoints.includes(first)) return taken(first);
    }
  }

  #leastBusy(free: readonly Endpoint[]): Endpoint {
    const { rank } = this.#options;
    const placeOf = (endpoint: Endpoint) =>
      (this.#endpoints.indexOf(endpoint) - rank % this.size + this.size) % this.size;
    return free.reduce((a, b) =>
      b.inFlight < a.inFlight || (b.inFlight === a.inFlight && placeOf(b) < placeOf(a)) ? b : a
    );
  }

  #assertMayGoOn(budget: RetryBudget, attempts: Attempts): void {
    const untried = this.#endpoints.some((one) => !one.isLost && !attempts.tried.has(one));
    const isLost = this.#endpoints.every((one) => one.isLost);
    if (!untried && (isLost || budget.leftMs <= 0)) throw this.#unavailable(budget, attempts);
  }

  #unavailable(budget: RetryBudget, { count, fault }: Attempts, why?: string): ScorerUnavailableError {
    const { api } = this.#options;
    return new ScorerUnavailableError(this.#endpoints.map(({ url }) => url).join(", "), {
      request: fault?.request ?? "nothing yet",
      attempts: count,
      seconds: budget.spentMs / 1000,
      cause: fault ?? new Error("it did not answer a request before this one"),
      why,
      tryAt: api.health?.path ?? "",
    });
  }

  /** Whether a scorer that refused our token was started anew with another, which its file holds by now. */
  async #hasNewToken(endpoint: Endpoint, error: unknown): Promise<boolean> {
    if (!(error instanceof ScorerContractError) || (error.status !== 401 && error.status !== 403)) {
      return false;
    }
    const { token } = endpoint;
    await this.#refresh();
    return endpoint.token !== token && this.#endpoints.includes(endpoint);
  }

  /** Reads the addresses again: a scorer that is started anew may write another one into its file. */
  async #refresh(): Promise<void> {
    const services = await this.#options.services.read();
    if (services.length === 0) return;
    const known = new Map(this.#endpoints.map((endpoint) => [endpoint.url, endpoint]));
    this.#endpoints = services.map((service) => {
      const endpoint = known.get(service.url) ?? new Endpoint(service, this.#options);
      endpoint.token = service.token;
      return endpoint;
    });
  }
}

/** Counted at once: another request that chooses next sees it. */
function taken(endpoint: Endpoint): Endpoint {
  endpoint.inFlight++;
  return endpoint;
}

/** Begins a budget's trouble at the first call, and ends it if it was begun. */
function begunOnce(budget: RetryBudget): { (): void; end(): void } {
  let isBegun = false;
  const begin = () => {
    if (!isBegun) budget.begin();
    isBegun = true;
  };
  return Object.assign(begin, { end: () => isBegun ? budget.end() : undefined });
}
