/** What a caller of the scorer can catch. Both mean that there are no scores, so no step can be taken. */
import { commandLine } from "../config/command_line.ts";

const startScorer = () => commandLine(process.env, "scorer");

/** No usable connection, after all retries. Its first line is documented: people and scripts look for it. */
export class ScorerUnavailableError extends Error {
  override readonly name = "ScorerUnavailableError";
  readonly attempts: number;

  /** @param tryAt path that shows whether it is there */
  constructor(url: string, request: string, attempts: number, cause: Error, tryAt = "/health") {
    super(
      `❌ ERROR: Scorer API at ${url} is not responding\n` +
        `  tried: ${request}, ${attempts} ${attempts === 1 ? "attempt" : "attempts"}; ` +
        `last error: ${cause.message}\n` +
        `  remedy: try \`curl ${url}${tryAt}\`, start a scorer with \`${startScorer()}\`, or correct scorer_url`,
      { cause },
    );
    this.attempts = attempts;
  }
}

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
