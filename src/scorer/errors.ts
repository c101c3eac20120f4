/** What a caller of the scorer can catch. Both mean that there are no scores, so no step can be taken. */
import { commandLine } from "../config/command_line.ts";

const startScorer = () => commandLine(process.env, "scorer");

/** What was tried in vain. */
export interface Tried {
  /** "POST /score_batch". */
  request: string;
  attempts: number;
  /** From the first fault on. */
  seconds: number;
  cause: Error;
  /** Why it is given up before the budget is spent, if it is. */
  why?: string;
  /** Path that shows whether the service is there. */
  tryAt?: string;
}

/** No usable connection, after all retries. Its first line is documented: people and scripts look for it. */
export class ScorerUnavailableError extends Error {
  override readonly name = "ScorerUnavailableError";
  readonly attempts: number;

  /** @param url of the service; of several, with commas between */
  constructor(url: string, { request, attempts, seconds, cause, why, tryAt = "/health" }: Tried) {
    const spent = seconds < 1 ? "" : ` in ${Math.round(seconds)} s`;
    super(
      `❌ ERROR: Scorer API at ${url} is not responding\n` +
        `  tried: ${request}, ${attempts} ${attempts === 1 ? "attempt" : "attempts"}${spent}; ` +
        `last error: ${cause.message}${why === undefined ? "" : `; ${why}`}\n` +
        `  remedy: try \`curl ${url.split(",")[0]}${tryAt}\`, start a scorer with \`${startScorer()}\`, ` +
        "correct scorer_url, or raise scorer_retry_max_s",
      { cause },
    );
    this.attempts = attempts;
  }
}

/** Whether an error says that no scorer answers, also one that another rank ended with. */
export const saysNoScorer = (error: unknown): boolean =>
  error instanceof ScorerUnavailableError ||
  (error instanceof Error && /❌ ERROR: Scorer API at .* is not responding/.test(error.message));

const LOOK_AT_LOG = "look at the scorer's log";

/** Where nothing has yet been heard from that address that a scorer would say. */
export const somethingElse = (): string =>
  "something else answers there: set scorer_url and scorer_api to what a scorer is at " +
  `and speaks (\`${startScorer()}\` starts one)`;

/** The scorer answered, but not with one finite reward and cost per completion. Asking again cannot help. */
export class ScorerContractError extends Error {
  override readonly name = "ScorerContractError";
  /** HTTP status of the answer. */
  readonly status: number;

  constructor(url: string, request: string, status: number, problem: string, remedy = LOOK_AT_LOG) {
    super(
      `Scorer API at ${url} broke the contract: ${request} answered ${status}: ${problem}; ` +
        `no score was taken from it; ${remedy}`,
    );
    this.status = status;
  }
}
