/** One HTTP exchange with a scorer, and how it went: JSON, a connection fault, or a broken contract. */
import { ScorerContractError } from "./errors.ts";
import { excerpt } from "./messages.ts";
import { ConnectionFault, parseRetryAfterMs } from "./retry.ts";

/** Two numbers a completion are some 50 bytes; an answer of this size is not one. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const PASSING_STATUSES = new Set([429, 502, 503, 504]);
/** Waiting does not right a wrong name, certificate or port. Node says so in a code, Deno only in words. */
const LASTING_FAULT = /ENOTFOUND|dns error|certificate|bad port|ports? .*blocked/i;

export interface Exchange {
  /** The scorer's URL without a trailing slash. */
  url: string;
  path: string;
  /** Sent as JSON by POST; GET when absent. */
  body?: unknown;
  timeoutMs: number;
  signal?: AbortSignal;
}

export interface Answer {
  status: number;
  json: unknown;
}

/** "POST /score_batch", for messages. */
export function describe({ path, body }: Pick<Exchange, "path" | "body">): string {
  return `${body === undefined ? "GET" : "POST"} ${path}`;
}

/**
 * Sends one request and reads the whole answer, both within `timeoutMs`.
 *
 * @throws ConnectionFault when the connection is lost or refused, time is up, or 429, 502, 503 or 504 is answered
 * @throws ScorerContractError when any other status but 200, an oversized answer, or one that is not JSON comes
 * @throws the signal's reason when the caller aborts
 */
export async function exchangeJson(exchange: Exchange): Promise<Answer> {
  const { status, headers, text } = await exchangeText(exchange);
  if (PASSING_STATUSES.has(status)) {
    throw new ConnectionFault(`${status}: ${refusal(text)}`, {
      retryAfterMs: parseRetryAfterMs(headers.get("retry-after"), Date.now()),
    });
  }
  if (status !== 200) throw new ScorerContractError(exchange.url, describe(exchange), status, refusal(text));
  try {
    return { status, json: JSON.parse(text) };
  } catch {
    throw new ScorerContractError(exchange.url, describe(exchange), status, `not JSON: ${excerpt(text)}`);
  }
}

async function exchangeText(exchange: Exchange): Promise<{ status: number; headers: Headers; text: string }> {
  const { url, path, body, timeoutMs, signal } = exchange;
  signal?.throwIfAborted();
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(url + path, {
      method: body === undefined ? "GET" : "POST",
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([timeout, signal]) : timeout,
    });
    return { status: response.status, headers: response.headers, text: await readText(response, exchange) };
  } catch (error) {
    if (error instanceof ScorerContractError) throw error;
    signal?.throwIfAborted();
    if (timeout.aborted) throw new ConnectionFault(`no answer within ${timeoutMs} ms`, { cause: error });
    const message = messageChain(error);
    throw new ConnectionFault(message, { lasting: LASTING_FAULT.test(message), cause: error });
  }
}

/** The body as text, given up as soon as it is larger than any honest answer. */
async function readText(response: Response, exchange: Exchange): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > MAX_ANSWER_BYTES) {
      const problem = `more than ${MAX_ANSWER_BYTES} bytes: ${excerpt(text)}`;
      throw new ScorerContractError(exchange.url, describe(exchange), response.status, problem);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** The `detail` of a refusal where there is one (a list in some services), else the beginning of the body. */
function refusal(text: string): string {
  try {
    const { detail } = JSON.parse(text);
    if (detail !== undefined) {
      return excerpt(typeof detail === "string" ? detail : JSON.stringify(detail), 500);
    }
  } catch {
    // Not JSON, or JSON null: a proxy's page, say. Its beginning tells more than a parser's complaint.
  }
  return excerpt(text) || "no explanation";
}

/** fetch says only "fetch failed"; the cause says why. */
function messageChain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as { code?: unknown }).code;
  const own = typeof code === "string" && !error.message.includes(code)
    ? `${error.message} (${code})`
    : error.message;
  return error.cause === undefined ? own : `${own}: ${messageChain(error.cause)}`;
}
