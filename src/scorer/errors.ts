/** What a caller of the scorer can catch. Both mean that there are no scores, so no step can be taken. */

/** No usable connection, after all retries. Its first line is documented: people and scripts look for it. */
export class ScorerUnavailableError extends Error {
  override readonly name = "ScorerUnavailableError";
  readonly attempts: number;

  constructor(url: string, request: string, attempts: number, cause: Error) {
    super(
      `❌ ERROR: Scorer API at ${url} is not responding\n` +
        `  tried: ${request}, ${attempts} ${attempts === 1 ? "attempt" : "attempts"}; ` +
        `last error: ${cause.message}\n` +
        `  remedy: try \`curl ${url}/health\`, start a scorer with \`npm run scorer\`, or correct scorer_url`,
      { cause },
    );
    this.attempts = attempts;
  }
}

/** The scorer answered, but not with one finite reward and cost per completion. Asking again cannot help. */
export class ScorerContractError extends Error {
  override readonly name = "ScorerContractError";
  /** HTTP status of the answer. */
  readonly status: number;

  constructor(url: string, request: string, status: number, problem: string) {
    super(
      `Scorer API at ${url} broke the contract: ${request} answered ${status}: ${problem}; ` +
        `no score was taken from it; look at the scorer's log`,
    );
    this.status = status;
  }
}
