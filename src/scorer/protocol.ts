/**
 * The scorer's HTTP contract, said once for server and client.
 *
 *   GET  /health       -> {"status": "healthy", "device": "..."}
 *   POST /score        {"prompts": [...], "responses": [...]} -> {"rewards": [...], "costs": [...]}
 *   POST /score_batch  the same
 *   POST /score_texts  {"texts": [...]} (whole conversations) -> the same
 *
 * Optional: /health may also answer "wants", a list of "messages" and "columns". Bodies of /score_batch then hold as
 * well, as long as "prompts" each,
 *
 *   "messages": [[{"role": "...", "content": "..."}, ...], ...], the conversation that each response answers;
 *   "columns": {"NAME": [...], ...}, the other columns of the prompts' rows, null where a row has none of that name.
 *
 * "rewards" and "costs" may each be an object of lists instead, {"NAME": [...], ...}, of a scorer that gives several:
 * one list for each name, the same names in every answer.
 *
 * Scores may come with "truncated": [true, ...], whether each conversation was longer than is read and lost its end.
 *
 * A service that wants nothing gets prompts and responses alone. Every refusal is `{"detail": "..."}` with a 4xx or 5xx
 * status. Unknown keys in a request are ignored.
 */
import { z } from "zod";
import type { Message } from "../rl/conversation.ts";
import { largestCosts } from "../rl/quadrants.ts";
import { show } from "./messages.ts";

const messageSchema = z.object({ role: z.string(), content: z.string() });
export const pairsRequestSchema = z.object({
  prompts: z.array(z.string()),
  responses: z.array(z.string()),
  messages: z.array(z.array(messageSchema)).optional(),
});
export const textsRequestSchema = z.object({ texts: z.array(z.string()) });
export const healthSchema = z.object({
  status: z.literal("healthy"),
  device: z.string(),
  // Words of later contracts are no fault of a scorer's.
  wants: z.array(z.string()).optional(),
});

const scoreLists = z.union([z.array(z.number()), z.record(z.string(), z.array(z.number()))]);
export const scoresSchema = z.object({
  rewards: scoreLists,
  costs: scoreLists,
  truncated: z.array(z.boolean()).optional(),
});

export type PairsRequest = z.infer<typeof pairsRequestSchema>;
export type Health = z.infer<typeof healthSchema>;

/** What a score is: a reward, or a cost. */
export type ScoreKind = "rewards" | "costs";

/**
 * Score i belongs to text i; a higher reward is more helpful, a higher cost is less safe. Of several rewards it is
 * their sum, of several costs the largest, unless who judges says otherwise.
 */
export interface Scores {
  rewards: number[];
  costs: number[];
  /**
   * What each part of a score said, unweighted, by its name in the metrics ("rewards/NAME", "costs/NAME"): one number
   * for each text, NaN where that part does not apply to it.
   */
  named?: Record<string, number[]>;
  /** Whether each text was longer than is read and lost its end; absent where the scorer does not say. */
  truncated?: boolean[];
}

/** A text cannot be read as it is, by which models ever. */
export class UnreadableTextError extends Error {
  override readonly name = "UnreadableTextError";
}

/**
 * The score models: whole conversations without EOS in, one reward and one cost for each out.
 * @param conversations the same by their messages, the answer last, for models that have a template of their own;
 * absent where texts alone are known
 * @param signal of who asks: once it is aborted nobody waits for the scores
 * @throws UnreadableTextError when one of them cannot be read
 */
export type ScoreTexts = (
  texts: string[],
  conversations?: readonly (readonly Message[])[],
  signal?: AbortSignal,
) => Promise<Scores>;

/** A completion to be judged, and what it answers. */
export interface Answer {
  /** The user's own words (of the last turn), or a templated prompt. */
  readonly prompt: string;
  /** The whole conversation that it answers: system message, turns before, and the prompt. */
  readonly messages: readonly Message[];
  readonly completion: string;
  /** The completion's token ids, its end included. */
  readonly tokens: readonly number[];
  /** The prompt as the policy read it, its control tokens as text. */
  readonly promptText: string;
  /** `promptText` and what the policy wrote behind it, its end included. */
  readonly fullText: string;
  /** The other columns of the prompt's row. */
  readonly columns: Readonly<Record<string, unknown>>;
}

/** What was answered since the last checkpoint, for a run that goes on from there. */
export interface ScoreJournal {
  /** What was answered to a question of `count` answers before this process began, once; null where nothing was. */
  take(key: string, count: number): Scores | null;
  /** Keeps an answer. Never throws: without it a run would only ask again. */
  put(key: string, scores: Scores): void;
}

export interface ScoreOptions {
  /** Completions per request. */
  batchSize?: number;
  /** Optimizer step whose completions they are; undefined in an evaluation. */
  step?: number;
  signal?: AbortSignal;
  /** A service that has answered the same before is not asked again. */
  journal?: ScoreJournal;
}

/** How asking went since it was last taken. */
export interface ScorerStats {
  /** Requests that were sent again. */
  retries: number;
  /** Time that calls spent on requests which had failed, until they succeeded. */
  waitSeconds: number;
  /** Answers of which a service said whether it read them whole, and those that it did not. */
  told: number;
  cut: number;
}

/** Judges completions. */
export interface Scorer {
  score(answers: readonly Answer[], options?: ScoreOptions): Promise<Scores>;
  /** How asking went since the last call; absent where nobody is asked over a network. */
  takeStats?(): ScorerStats;
  /** Calls that may run at once, as there are several services; 1 where it is absent. */
  callsAtOnce?(): number;
  /** It computes on this process's GPU: it is not asked while completions are sampled, which takes the memory. */
  readonly sharesGpu?: boolean;
}

/**
 * Narrows an unknown value to a healthy scorer's answer.
 * @throws TypeError when it is another; it shows what came instead
 */
export function assertHealth(candidate: unknown): Health {
  const health = healthSchema.safeParse(candidate);
  if (health.success) return health.data;
  throw new TypeError(
    `health is ${show(candidate)}; need {"status": "healthy", "device": "..."}${
      isStatusAlone(candidate)
        ? ", which a scorer with a token tells those who send it: set SCORER_TOKEN"
        : ""
    }`,
  );
}

const isStatusAlone = (health: unknown) =>
  (health as { status?: unknown } | null)?.status === "healthy" && Object.keys(health as object).length === 1;

/**
 * Narrows what score models gave to `count` finite rewards and costs, those with names too.
 *
 * @throws TypeError when anything is wrong; it names the first, and nothing is repaired or filled in
 */
export function assertScores(candidate: unknown, count: number): Scores {
  const { rewards, costs, truncated, named } = assertScoreLists(candidate);
  const lists = Object.entries(named ?? {});
  return {
    rewards: assertFiniteNumbers("rewards", rewards, count),
    costs: assertFiniteNumbers("costs", costs, count),
    ...(lists.length > 0 && {
      named: Object.fromEntries(
        lists.map(([name, values]) => [name, assertFiniteNumbers(name, values, count)]),
      ),
    }),
    ...(truncated !== undefined && { truncated: assertTruncated(truncated, count) }),
  };
}

/** The scores as they are sent: of a kind that has names, an object of lists. */
export function sentScores({ named = {}, ...scores }: Scores): z.infer<typeof scoresSchema> {
  const ofKind = (kind: ScoreKind) => {
    const lists = Object.entries(named).flatMap(([name, values]) =>
      name.startsWith(`${kind}/`) ? [[name.slice(kind.length + 1), values] as const] : []
    );
    return lists.length > 0 ? Object.fromEntries(lists) : scores[kind];
  };
  return { ...scores, rewards: ofKind("rewards"), costs: ofKind("costs") };
}

/** Lists of one kind as they were sent, by name; null where it is one list without a name. */
export type ListsByName = Record<string, number[]> | null;

/** More names are of a mistake. */
const MOST_NAMES = 64;

/**
 * Narrows scores of a kind to one list of `count` finite numbers, or to an object of such lists.
 * @returns the scores of the kind, and the lists that they were made of
 * @throws TypeError when anything is wrong; it names the first
 */
export function assertScoresOfKind(
  kind: ScoreKind,
  candidate: unknown,
  count: number,
): { values: number[]; byName: ListsByName } {
  if (typeof candidate !== "object" || candidate === null || Array.isArray(candidate)) {
    return { values: assertFiniteNumbers(kind, candidate, count), byName: null };
  }
  const entries = Object.entries(candidate);
  if (entries.length === 0 || entries.length > MOST_NAMES || "" in candidate) {
    throw new TypeError(
      `"${kind}" is an object of ${entries.length} names; need 1 to ${MOST_NAMES} of them, each with a list of numbers`,
    );
  }
  const lists = entries.map(([name, values]) =>
    [name, assertFiniteNumbers(`${kind}/${name}`, values, count)] as const
  );
  return { values: wholeOf(kind, lists.map(([, values]) => values)), byName: Object.fromEntries(lists) };
}

/** Of several rewards the sum, of several costs the largest. */
export const wholeOf = (kind: ScoreKind, lists: readonly number[][]): number[] =>
  kind === "costs"
    ? largestCosts(lists)
    : lists[0].map((_, i) => lists.reduce((sum, values) => sum + values[i], 0));

/** @throws TypeError when it is no list of `count` truth values */
function assertTruncated(candidate: unknown, count: number): boolean[] {
  if (
    Array.isArray(candidate) && candidate.length === count &&
    candidate.every((value) => typeof value === "boolean")
  ) return candidate;
  throw new TypeError(`"truncated" is ${show(candidate)}; need true or false for each of ${count} texts`);
}

/** @throws TypeError when it is no object */
export function assertScoreLists(candidate: unknown): Record<string, unknown> {
  if (typeof candidate === "object" && candidate !== null) return candidate as Record<string, unknown>;
  throw new TypeError(`scores are ${show(candidate)}; need {"rewards": [...], "costs": [...]}`);
}

/** @throws TypeError when it is no list of `count` finite numbers; it names the first that is wrong */
export function assertFiniteNumbers(name: string, candidate: unknown, count: number): number[] {
  if (!Array.isArray(candidate)) {
    throw new TypeError(`"${name}" is ${show(candidate)}; need a list of numbers`);
  }
  if (candidate.length !== count) {
    throw new TypeError(`"${name}" has ${candidate.length} numbers; need one for each of ${count} texts`);
  }
  // Not forEach or findIndex alone: a hole in a sparse array must count as a missing score.
  for (let i = 0; i < count; i++) {
    if (!Number.isFinite(candidate[i])) {
      throw new TypeError(`"${name}"[${i}] is ${show(candidate[i])}; need a finite number`);
    }
  }
  return candidate;
}
