/** The trainer's side of a scorer service: checks, batches, retries; scores as they came, or an error. */
import { SCORER_INPUTS, type ScorerApiName, type ScorerInput } from "../config/scorer_apis.ts";
import { type Asking, type Label, type ScoreKind, type ScoreRequest, WrongSetting } from "./apis/api.ts";
import { SCORER_APIS } from "./apis/apis.ts";
import { ScorerUnavailableError } from "./errors.ts";
import { contractError, describe, type Exchange, exchangeJson, exchangeText } from "./exchange.ts";
import type { Answer, Health, ScoreOptions, Scorer, Scores } from "./protocol.ts";
import { type RetryPolicy, sleep, withRetries } from "./retry.ts";
import { parseScorerUrl } from "./url.ts";

export interface ScorerClientOptions {
  /** http:// or https://, with or without trailing slashes. */
  url: string;
  /** What the service speaks. Default "beaver": the contract of protocol.ts. */
  api?: ScorerApiName;
  /** What it gives. Default rewards and costs; of a kind that is not asked for there are no numbers. */
  kinds?: readonly ScoreKind[];
  /** What is judged of an answer. Default what the service is made for: for all, prompt and completion. */
  input?: ScorerInput;
  /** Which class of a classifier is the reward. Default the only one. */
  rewardLabel?: Label;
  /** Which class of a classifier is the cost. Default the only one. */
  costLabel?: Label;
  /** Column of the prompts' rows that an OpenRLHF service gets as their labels. Default none. */
  labelKey?: string;
  /** For one attempt, answer read. Default 300 s. */
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
   * Asks for the service's health, where it can be asked.
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
 * The first `score` asks for the service's health before it sends anything, unless `checkHealth` has passed already.
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
  const api = SCORER_APIS[options.api ?? "beaver"];
  const timeoutMs = Math.min(requireWhole("timeoutMs", options.timeoutMs ?? 300_000, 1), MAX_TIMER_MS);
  const defaultBatchSize = requireWhole("batchSize", options.batchSize ?? 32, 1);
  const asking = askingOf(options);
  const policy: RetryPolicy = {
    maxRetries: requireWhole("maxRetries", options.maxRetries ?? 6, 0),
    baseDelayMs: options.baseDelayMs ?? 500,
    maxDelayMs: options.maxDelayMs ?? 30_000,
    random: options.random ?? Math.random,
    sleep: options.sleep ?? sleep,
    onRetry: options.onRetry,
  };
  let health: Health | null = null;
  /** Whether anything has come that a scorer would say. */
  let isKnown = false;

  async function checkHealth({ signal }: { signal?: AbortSignal } = {}): Promise<Health> {
    if (!api.health) {
      health = { status: "healthy", device: "unknown" };
      return health;
    }
    const { path, isJson, read } = api.health;
    const exchange = { url, path, timeoutMs: Math.min(timeoutMs, HEALTH_TIMEOUT_MS), signal, isFirst: true };
    const answer = isJson
      ? async () => await exchangeJson(exchange)
      : async () => await exchangeText(exchange).then(({ status, text }) => ({ status, json: text.trim() }));
    health = await request(exchange, policy, answer, read, path);
    isKnown = true;
    return health;
  }

  async function ask({ path, body, read }: ScoreRequest, signal?: AbortSignal) {
    const exchange = { url, path, body, timeoutMs, signal, isFirst: !isKnown };
    const tryAt = api.health?.path ?? path;
    const scores = await request(exchange, policy, () => exchangeJson(exchange), read, tryAt);
    isKnown = true;
    return scores;
  }

  async function score(answers: readonly Answer[], options: ScoreOptions = {}): Promise<Scores> {
    const { batchSize = defaultBatchSize, signal } = options;
    requireWhole("batchSize", batchSize, 1);
    const scores: Scores = { rewards: [], costs: [] };
    if (answers.length > 0 && !health) await checkHealth({ signal });
    for (let start = 0; start < answers.length; start += batchSize) {
      const batch = answers.slice(start, start + batchSize);
      const requests = api.requests(batch, { ...asking, wants: health?.wants ?? [] }, url);
      const judged = await together(requests, ask, signal);
      for (const { rewards, costs } of judged) {
        scores.rewards.push(...rewards);
        scores.costs.push(...costs);
      }
    }
    return scores;
  }

  return { url, checkHealth, score };
}

/** @throws RangeError when the service cannot judge what it is to judge */
function askingOf(options: ScorerClientOptions): Omit<Asking, "wants"> {
  const { api: name = "beaver", kinds = ["rewards", "costs"], rewardLabel, costLabel, labelKey } = options;
  const inputs: readonly ScorerInput[] = SCORER_INPUTS[name];
  const input = options.input ?? inputs[0];
  if (!inputs.includes(input)) {
    throw new RangeError(
      `A ${name} scorer cannot judge "${input}"; set scorer_input to ${inputs.join(" or ")}`,
    );
  }
  return {
    kinds,
    input,
    labels: { rewards: rewardLabel ?? null, costs: costLabel ?? null },
    labelKey: labelKey ?? null,
  };
}

/** All at once; where one fails the others are given up, and its error is told. */
async function together<T, R>(
  items: readonly T[],
  run: (item: T, signal?: AbortSignal) => Promise<R>,
  signal?: AbortSignal,
): Promise<R[]> {
  if (items.length === 1) return [await run(items[0], signal)];
  const giveUp = new AbortController();
  const either = signal ? AbortSignal.any([signal, giveUp.signal]) : giveUp.signal;
  try {
    return await Promise.all(items.map((item) => run(item, either)));
  } catch (error) {
    giveUp.abort(error);
    throw error;
  }
}

/**
 * One request with its retries; `read` narrows the answer to what was asked for, or throws what is wrong.
 * @param tryAt path that shows whether the service is there
 */
function request<T>(
  exchange: Exchange,
  policy: RetryPolicy,
  send: () => Promise<{ status: number; json: unknown }>,
  read: (json: unknown) => T,
  tryAt: string,
): Promise<T> {
  return withRetries(
    async () => {
      const { status, json } = await send();
      try {
        return read(json);
      } catch (error) {
        const remedy = error instanceof WrongSetting ? error.remedy : undefined;
        const isFirst = exchange.isFirst && !saysItsStatus(json);
        throw contractError({ ...exchange, isFirst }, status, (error as Error).message, remedy);
      }
    },
    policy,
    (attempts, fault) => new ScorerUnavailableError(exchange.url, describe(exchange), attempts, fault, tryAt),
    exchange.signal,
  );
}

/** Whether it is a health, if not a good one. */
const saysItsStatus = (json: unknown) => typeof (json as { status?: unknown } | null)?.status === "string";

function requireWhole(name: string, value: number, least: number): number {
  if (!Number.isInteger(value) || value < least) {
    throw new RangeError(`${name} is ${value}: need a whole number, at least ${least}`);
  }
  return value;
}
