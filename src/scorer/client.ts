/** The trainer's side of scorer services: checks, batches, retries; scores as they came, or an error. */
import {
  SCORER_INPUTS,
  type ScorerApiName,
  type ScorerInput,
  type ScorerRoute,
} from "../config/scorer_apis.ts";
import type { Asking, Label, ReadScores } from "./apis/api.ts";
import { SCORER_APIS } from "./apis/apis.ts";
import { assertBounded, MAX_ABS_SCORE } from "./bounds.ts";
import { inParallel } from "./in_parallel.ts";
import { type PoolEvents, ScorerPool } from "./pool.ts";
import type { Answer, Health, ScoreKind, ScoreOptions, Scorer, ScorerStats, Scores } from "./protocol.ts";
import { type Clock, WALL_CLOCK } from "./retry.ts";
import { scorerServices, type ServicesOptions } from "./services.ts";

export interface ScorerClientOptions extends PoolEvents, ServicesOptions {
  /** http:// or https://, with or without trailing slashes; of several services, as scorer_url. */
  url: string;
  /** What the services speak. Default "beaver": the contract of protocol.ts. */
  api?: ScorerApiName;
  /** Where Beaver's contract is asked. Default "score_batch". */
  route?: ScorerRoute;
  /** What they give. Default rewards and costs; of a kind that is not asked for there are no numbers. */
  kinds?: readonly ScoreKind[];
  /** Of which kinds a service of Beaver's contract may give several, by name. Default of both. */
  named?: readonly ScoreKind[];
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
  /** What a call may spend on faults that pass, all its requests together. Default 600 s; 0: nothing is tried again. */
  retryMaxMs?: number;
  /** Completions per request. Default 32. */
  batchSize?: number;
  /** Scores beyond this, up or down, are no scores. Default 1e6. */
  maxAbsScore?: number;
  /** Cap of the first delay, doubled at each retry. Default 500 ms. */
  baseDelayMs?: number;
  /** Cap of every delay but what a server asks for with Retry-After. Default 30 s. */
  maxDelayMs?: number;
  /** Which of several services comes first, of those that are as busy: that of number rank % n. Default 0. */
  rank?: number;
  /** A service said that it read so many of so many conversations only up to its limit. */
  onCut?: (cut: number, of: number) => void;
  /** Jitter of the delays; touches no result, so it needs no seed. Default Math.random. */
  random?: () => number;
  clock?: Clock;
}

export interface ScorerClient extends Scorer {
  /** The URL as requests use it; of several services, with commas between. */
  readonly url: string;
  takeStats(): ScorerStats;
  /**
   * Asks for the services' health, where it can be asked.
   * @throws ScorerUnavailableError when none answers
   * @throws ScorerContractError when something else does
   */
  checkHealth(options?: { signal?: AbortSignal }): Promise<Health>;
}

/** Timers hold 31 bits of milliseconds (25 days); a longer one would end at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * A Scorer behind HTTP. Prompt and completion go as they are; of several services each request goes to the least busy
 * one, so many at once as there are services, and scores are in order whichever answered. A service is asked for its
 * health before anything is sent to it, and again after it has failed.
 *
 * @throws TypeError when a URL or the token is unusable
 * @throws RangeError when an option is out of range
 *
 * `score` and `checkHealth` reject with
 * - ScorerUnavailableError: no connection, timeouts, or 408, 425, 429 and 5xx until the budget was spent;
 * - ScorerContractError: any other refusal, or an answer without one finite reward and cost per completion;
 * - RangeError: a batch size that is not a whole number;
 * - the reason of `signal`, when aborted.
 */
export function createScorerClient(options: ScorerClientOptions): ScorerClient {
  const services = scorerServices(options.url, options);
  const api = SCORER_APIS[options.api ?? "beaver"];
  const defaultBatchSize = requireWhole("batchSize", options.batchSize ?? 32, 1);
  const maxAbsScore = options.maxAbsScore ?? MAX_ABS_SCORE;
  const asking = askingOf(options);
  const policy = {
    maxMs: requireWhole("retryMaxMs", options.retryMaxMs ?? 600_000, 0),
    baseDelayMs: options.baseDelayMs ?? 500,
    maxDelayMs: options.maxDelayMs ?? 30_000,
    random: options.random ?? Math.random,
    clock: options.clock ?? WALL_CLOCK,
  };
  const timeoutMs = Math.min(requireWhole("timeoutMs", options.timeoutMs ?? 300_000, 1), MAX_TIMER_MS);
  const rank = requireWhole("rank", options.rank ?? 0, 0);
  const pool = new ScorerPool({ services, api, timeoutMs, policy, rank, events: options });
  let counts = { told: 0, cut: 0 };

  function count({ cut }: ReadScores): void {
    if (!cut) return;
    const isCut = cut.filter((one) => one).length;
    counts.told += cut.length;
    counts.cut += isCut;
    if (isCut > 0) options.onCut?.(isCut, cut.length);
  }

  async function score(
    answers: readonly Answer[],
    { batchSize, signal }: ScoreOptions = {},
  ): Promise<Scores> {
    const size = requireWhole("batchSize", batchSize ?? defaultBatchSize, 1);
    const scores: Scores = { rewards: [], costs: [] };
    if (answers.length === 0) return scores;
    const isOneByOne = api.isOneByOne?.(asking) ?? false;
    const batches = slicesOf(answers, isOneByOne ? 1 : size);
    const judged = await pool.call((budget) => {
      const judge = (batch: readonly Answer[], either?: AbortSignal) =>
        pool.request(budget, async (endpoint) => {
          const { wants = [] } = await endpoint.health(either);
          const { read, ...request } = api.request(batch, { ...asking, wants }, endpoint.url);
          const checked = (json: unknown) => {
            const found = read(json);
            assertBounded(found, batch, maxAbsScore);
            return found;
          };
          return await endpoint.ask({ ...request, read: checked }, either);
        }, either);
      return inParallel(batches, pool.size * (isOneByOne ? size : 1), judge, signal);
    }, signal);
    for (const batch of judged) {
      scores.rewards.push(...batch.rewards);
      scores.costs.push(...batch.costs);
      count(batch);
    }
    const named = joinedByName(judged);
    return named === null ? scores : { ...scores, named };
  }

  return {
    url: services.addresses.join(", "),
    checkHealth: ({ signal } = {}) => pool.health(signal),
    score,
    callsAtOnce: () => Math.max(1, pool.size),
    takeStats() {
      const { retries, waitMs } = pool.takeStats();
      const stats = { retries, waitSeconds: waitMs / 1000, ...counts };
      counts = { told: 0, cut: 0 };
      return stats;
    },
  };
}

/**
 * The lists of all batches by name, in their order; null where none has names.
 * @throws TypeError when one has other names than another: which score belongs to what is then unknown
 */
function joinedByName(judged: readonly ReadScores[]): Record<string, number[]> | null {
  const names = Object.keys(judged[0].named ?? {});
  for (const { named = {} } of judged) {
    const others = Object.keys(named);
    if (others.length === names.length && others.every((name) => names.includes(name))) continue;
    throw new TypeError(
      `The scorer's answers must all have scores of the same names, got ${names.join(", ") || "none"} and ` +
        `${others.join(", ") || "none"}; services that are asked as one must serve the same models`,
    );
  }
  if (names.length === 0) return null;
  return Object.fromEntries(names.map((name) => [name, judged.flatMap(({ named }) => named![name])]));
}

function slicesOf<T>(items: readonly T[], size: number): T[][] {
  return Array.from(
    { length: Math.ceil(items.length / size) },
    (_, i) => items.slice(i * size, (i + 1) * size),
  );
}

/** @throws RangeError when the service cannot judge what it is to judge */
function askingOf(options: ScorerClientOptions): Omit<Asking, "wants"> {
  const { api: name = "beaver", kinds = ["rewards", "costs"], named = ["rewards", "costs"] } = options;
  const { rewardLabel, costLabel, labelKey } = options;
  const inputs: readonly ScorerInput[] = SCORER_INPUTS[name];
  const input = options.input ?? inputs[0];
  if (!inputs.includes(input)) {
    throw new RangeError(
      `A ${name} scorer cannot judge "${input}"; set scorer_input to ${inputs.join(" or ")}`,
    );
  }
  return {
    kinds,
    named,
    input,
    labels: { rewards: rewardLabel ?? null, costs: costLabel ?? null },
    labelKey: labelKey ?? null,
    route: options.route ?? "score_batch",
  };
}

function requireWhole(name: string, value: number, least: number): number {
  if (!Number.isInteger(value) || value < least) {
    throw new RangeError(`${name} is ${value}: need a whole number, at least ${least}`);
  }
  return value;
}
