/** The trainer's side of the scorer contract: checks, batches, retries; scores as they came, or an error. */
import { ScorerContractError, ScorerUnavailableError } from "./errors.ts";
import { describe, type Exchange, exchangeJson } from "./exchange.ts";
import {
  type Answer,
  assertHealth,
  assertScores,
  type Health,
  type ScoreOptions,
  type Scorer,
  type Scores,
} from "./protocol.ts";
import { type RetryPolicy, sleep, withRetries } from "./retry.ts";
import { parseScorerUrl } from "./url.ts";

export interface ScorerClientOptions {
  /** http:// or https://, with or without trailing slashes. */
  url: string;
  /** For one attempt, answer read. Node's fetch by itself waits 300 s for an answer. Default 300 s. */
  timeoutMs?: number;
  /** Attempts after the first. Default 6: with the delays below, half a minute at most. */
  maxRetries?: number;
  /** Completions per request. Default 32. */
  batchSize?: number;
  /** Cap of the first delay, doubled at each retry. Default 500 ms. */
  baseDelayMs?: number;
  /** Cap of every delay, the server's Retry-After included. Default 30 s. */
  maxDelayMs?: number;
  onRetry?: RetryPolicy["onRetry"];
  /** Jitter of the delays; touches no result, so it needs no seed. Default Math.random. */
  random?: () => number;
  sleep?: RetryPolicy["sleep"];
}

export interface ScorerClient extends Scorer {
  /** The URL as requests use it. */
  readonly url: string;
  /**
   * Asks GET /health.
   * @throws ScorerUnavailableError when nothing answers
   * @throws ScorerContractError when something else does
   */
  checkHealth(options?: { signal?: AbortSignal }): Promise<Health>;
}

/** A health check does no work on the scorer's GPU, so it may not take as long as a batch. */
const HEALTH_TIMEOUT_MS = 30_000;

/** Timers hold 31 bits of milliseconds (25 days); a longer one would end at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * A Scorer behind HTTP. Prompt and completion go as they are; batches go one after the other, in order.
 * The first `score` asks /health before it sends anything, unless `checkHealth` has passed already.
 *
 * @throws TypeError when the URL is unusable
 * @throws RangeError when an option is out of range
 *
 * `score` and `checkHealth` reject with
 * - ScorerUnavailableError: no connection, timeouts, or 429, 502, 503, 504 until the retries were used up;
 * - ScorerContractError: any other refusal, or an answer without one finite reward and cost per completion;
 * - RangeError: a batch size that is not a whole number;
 * - the reason of `signal`, when aborted.
 */
export function createScorerClient(options: ScorerClientOptions): ScorerClient {
  const url = parseScorerUrl(options.url);
  const timeoutMs = Math.min(requireWhole("timeoutMs", options.timeoutMs ?? 300_000, 1), MAX_TIMER_MS);
  const defaultBatchSize = requireWhole("batchSize", options.batchSize ?? 32, 1);
  const policy: RetryPolicy = {
    maxRetries: requireWhole("maxRetries", options.maxRetries ?? 6, 0),
    baseDelayMs: options.baseDelayMs ?? 500,
    maxDelayMs: options.maxDelayMs ?? 30_000,
    random: options.random ?? Math.random,
    sleep: options.sleep ?? sleep,
    onRetry: options.onRetry,
  };
  let healthy = false;

  async function checkHealth({ signal }: { signal?: AbortSignal } = {}): Promise<Health> {
    const exchange = { url, path: "/health", timeoutMs: Math.min(timeoutMs, HEALTH_TIMEOUT_MS), signal };
    const health = await request(exchange, policy, assertHealth);
    healthy = true;
    return health;
  }

  async function score(answers: readonly Answer[], options: ScoreOptions = {}): Promise<Scores> {
    const { batchSize = defaultBatchSize, signal } = options;
    requireWhole("batchSize", batchSize, 1);
    const scores: Scores = { rewards: [], costs: [] };
    if (answers.length > 0 && !healthy) await checkHealth({ signal });
    for (let start = 0; start < answers.length; start += batchSize) {
      const batch = answers.slice(start, start + batchSize);
      const body = {
        prompts: batch.map(({ prompt }) => prompt),
        responses: batch.map(({ completion }) => completion),
      };
      const exchange = { url, path: "/score_batch", body, timeoutMs, signal };
      const judged = await request(exchange, policy, (json) => assertScores(json, batch.length));
      scores.rewards.push(...judged.rewards);
      scores.costs.push(...judged.costs);
    }
    return scores;
  }

  return { url, checkHealth, score };
}

/** One request with its retries; `read` narrows the answer to what was asked for, or throws what is wrong. */
function request<T>(exchange: Exchange, policy: RetryPolicy, read: (json: unknown) => T): Promise<T> {
  return withRetries(
    async () => {
      const { status, json } = await exchangeJson(exchange);
      try {
        return read(json);
      } catch (error) {
        throw new ScorerContractError(exchange.url, describe(exchange), status, (error as Error).message);
      }
    },
    policy,
    (attempts, fault) => new ScorerUnavailableError(exchange.url, describe(exchange), attempts, fault),
    exchange.signal,
  );
}

function requireWhole(name: string, value: number, least: number): number {
  if (!Number.isInteger(value) || value < least) {
    throw new RangeError(`${name} is ${value}: need a whole number, at least ${least}`);
  }
  return value;
}
