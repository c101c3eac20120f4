/** One service that is asked: what is known of it, how it fares, and its health. */
import type { ScorerApi } from "./apis/api.ts";
import { WrongSetting } from "./apis/api.ts";
import { ScorerContractError } from "./errors.ts";
import {
  type Answer,
  contractError,
  describe,
  type Exchange,
  exchangeJson,
  exchangeText,
} from "./exchange.ts";
import type { Health } from "./protocol.ts";
import { backoffMs, ConnectionFault, type RetryPolicy } from "./retry.ts";
import type { Service } from "./services.ts";

/** A health check does no work on the scorer's GPU, so it may not take as long as a batch. */
const HEALTH_TIMEOUT_MS = 30_000;

export interface EndpointOptions {
  api: ScorerApi;
  /** Of one attempt. */
  timeoutMs: number;
  policy: RetryPolicy;
}

/** A question after the health that is not answered yet, and how many wait for it. */
interface HealthQuestion {
  health: Promise<Health>;
  waiting: number;
  giveUp: AbortController;
}

export class Endpoint {
  readonly url: string;
  token: string | null;
  /** Requests of ours that it has not answered yet. */
  inFlight = 0;
  /** Before this it is not asked, on the policy's clock. */
  readyAtMs = 0;
  /** Until then it asked us to wait. */
  askedUntilMs = 0;
  /** It cannot be reached, and waiting does not help. */
  isLost = false;
  readonly #options: EndpointOptions;
  /** null: to be asked for, as nothing is known of it, or it has failed since. */
  #health: Health | null = null;
  #asking: HealthQuestion | null = null;
  /** In a row. */
  #faults = 0;
  #lastFault: ConnectionFault | null = null;
  #isKnown = false;

  /** Whether anything has come that a scorer would say. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  constructor({ url, token }: Service, options: EndpointOptions) {
    this.url = url;
    this.token = token;
    this.#options = options;
  }

  /**
   * Its health: the one known, or asked for. Several that need it at once share one request.
   * @throws ConnectionFault when it does not answer, or says that it is not well after it was
   * @throws ScorerContractError when something else answers
   */
  async health(signal?: AbortSignal): Promise<Health> {
    if (this.#health) return this.#health;
    signal?.throwIfAborted();
    const asking = this.#asking ??= this.#askHealth();
    asking.waiting++;
    let leave = () => {};
    const isAborted = new Promise<never>((_, reject) => {
      leave = () => {
        if (--asking.waiting === 0) {
          this.#asking = null;
          asking.giveUp.abort(signal?.reason);
        }
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", leave, { once: true });
    });
    try {
      return await Promise.race([asking.health, isAborted]);
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }

  #askHealth(): HealthQuestion {
    const giveUp = new AbortController();
    const health = this.#requestHealth(giveUp.signal);
    const asking = { health, waiting: 0, giveUp };
    const isOver = () => {
      if (this.#asking === asking) this.#asking = null;
    };
    // Those who wait are told of a failure.
    health.then((found) => this.#health = found).catch(() => {}).finally(isOver);
    return asking;
  }

  async #requestHealth(signal: AbortSignal): Promise<Health> {
    const { api, timeoutMs } = this.#options;
    if (!api.health) return { status: "healthy", device: "unknown" };
    const { path, isJson, read } = api.health;
    const exchange = this.#exchange(path, Math.min(timeoutMs, HEALTH_TIMEOUT_MS), signal);
    const answer = isJson
      ? () => exchangeJson(exchange)
      : () => exchangeText(exchange).then(({ status, text }) => ({ status, json: text.trim() }));
    try {
      return await this.#read(exchange, answer, read);
    } catch (error) {
      // One that was well and comes up again may say for a while that it loads, or have a proxy say so.
      const isComingUp = this.#isKnown && error instanceof ScorerContractError &&
        error.status !== 401 && error.status !== 403;
      if (!isComingUp) throw error;
      throw new ConnectionFault(error.message, { request: describe(exchange), cause: error });
    }
  }

  /**
   * One request, which `read` narrows the answer of.
   * @throws ConnectionFault when it may pass
   * @throws ScorerContractError when it is refused, or `read` throws
   * @throws the signal's reason when the caller aborts
   */
  async ask<T>(
    { path, body, read }: { path: string; body: unknown; read: (json: unknown) => T },
    signal?: AbortSignal,
  ): Promise<T> {
    const exchange = { ...this.#exchange(path, this.#options.timeoutMs, signal), body };
    return await this.#read(exchange, () => exchangeJson(exchange), read);
  }

  #exchange(path: string, timeoutMs: number, signal?: AbortSignal): Exchange {
    return { url: this.url, path, timeoutMs, signal, token: this.token, isFirst: !this.#isKnown };
  }

  async #read<T>(
    exchange: Exchange,
    send: () => Promise<Answer>,
    read: (json: unknown) => T,
  ): Promise<T> {
    const { status, json } = await send();
    try {
      const value = read(json);
      this.#isKnown = true;
      return value;
    } catch (error) {
      const remedy = error instanceof WrongSetting ? error.remedy : undefined;
      const isFirst = exchange.isFirst && !saysItsStatus(json);
      throw contractError({ ...exchange, isFirst }, status, (error as Error).message, remedy);
    }
  }

  /** It has answered as it should. */
  succeeded(): void {
    this.#faults = 0;
    this.#lastFault = null;
    this.readyAtMs = 0;
    this.askedUntilMs = 0;
  }

  /**
   * It has not: it is asked again after a while, for its health first unless it is only busy. One fault that several
   * requests share counts once.
   */
  failed(fault: ConnectionFault): void {
    if (fault === this.#lastFault) return;
    const { policy } = this.#options;
    const nowMs = policy.clock.nowMs();
    this.#lastFault = fault;
    this.#faults++;
    this.isLost = fault.lasting;
    if (!fault.isBusy) this.#health = null;
    this.askedUntilMs = nowMs + fault.retryAfterMs;
    this.readyAtMs = Math.max(this.askedUntilMs, nowMs + backoffMs(this.#faults, policy));
  }
}

/** Whether it is a health, if not a good one. */
const saysItsStatus = (json: unknown) => typeof (json as { status?: unknown } | null)?.status === "string";
