/** One HTTP exchange with a scorer, and how it went: JSON, a connection fault, or a broken contract. */
import { parsedJson } from "../config/parsed_json.ts";
import { Agent } from "undici";
import { ScorerContractError, somethingElse } from "./errors.ts";
import { repeatedKey } from "./json_keys.ts";
import { directClient } from "./loopback.ts";
import { excerpt } from "./messages.ts";
import { ConnectionFault, parseRetryAfterMs } from "./retry.ts";

/** Two numbers a completion are some 50 bytes; an answer of this size is not one. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
/** The service is there, and has too much to do. */
const BUSY_STATUSES = new Set([408, 425, 429]);
/** What a service that restarts, or the proxy before it, answers meanwhile; 500 too, as frameworks do. */
const isPassing = (status: number) => BUSY_STATUSES.has(status) || (status >= 500 && status < 600);
/**
 * Node's fetch gives up by itself after 300 s without headers, or between two pieces of a body; how long to wait is
 * said by `timeoutMs` alone. Deno's fetch has no such limits and does not look at this.
 */
const patient = new Agent({ headersTimeout: 0, bodyTimeout: 0 });
/**
 * Waiting does not right a wrong name, certificate or port, unless it was right before. Node says so in a code, Deno
 * only in words.
 */
const LASTING_FAULT = /ENOTFOUND|dns error(?!.*temporary)|certificate|bad port|ports? .*blocked/i;

export interface Exchange {
  /** The scorer's URL without a trailing slash. */
  url: string;
  path: string;
  /** Sent as JSON by POST; GET when absent. */
  body?: unknown;
  timeoutMs: number;
  signal?: AbortSignal;
  /** Sent as "authorization: Bearer ...", and never shown. */
  token?: string | null;
  /** Nothing has been heard yet from that address that a scorer would say. */
  isFirst?: boolean;
}

export interface Answer {
  status: number;
  json: unknown;
}

/** "POST /score_batch", for messages. */
export function describe({ path, body }: Pick<Exchange, "path" | "body">): string {
  return `${body === undefined ? "GET" : "POST"} ${path || "/"}`;
}

/** What an answer that is not the contract's is refused with. */
export function contractError(
  exchange: Exchange,
  status: number,
  problem: string,
  remedy = exchange.isFirst && status < 500 ? somethingElse() : undefined,
): ScorerContractError {
  return new ScorerContractError(exchange.url, describe(exchange), status, problem, remedy);
}

/**
 * Sends one request and reads the whole answer, both within `timeoutMs`.
 *
 * @throws ConnectionFault when the connection is lost or refused, time is up, or 408, 425, 429 or 5xx is answered
 * @throws ScorerContractError when any other status but 200, an oversized answer, or one that is not JSON comes
 * @throws the signal's reason when the caller aborts
 */
export async function exchangeJson(exchange: Exchange): Promise<Answer> {
  const { status, text } = await exchangeText(exchange);
  try {
    const json = parsedJson(text);
    const twice = repeatedKey(text);
    if (twice === null) return { status, json };
    throw contractError(
      exchange,
      status,
      `"${excerpt(twice, 40)}" stands twice in ${excerpt(hidden(text, exchange))}`,
    );
  } catch (error) {
    if (error instanceof ScorerContractError) throw error;
    throw contractError(exchange, status, `not JSON: ${excerpt(hidden(text, exchange)) || "nothing"}`);
  }
}

/**
 * The same, of an answer that may be any text.
 *
 * @throws ConnectionFault when `exchangeJson` would
 * @throws ScorerContractError when any other status but 200, or an oversized answer comes
 * @throws the signal's reason when the caller aborts
 */
export async function exchangeText(exchange: Exchange): Promise<{ status: number; text: string }> {
  const { status, headers, text } = await send(exchange);
  if (isPassing(status)) {
    throw new ConnectionFault(`${status}: ${refusal(hidden(text, exchange))}`, {
      request: describe(exchange),
      retryAfterMs: parseRetryAfterMs(headers.get("retry-after"), Date.now()),
      isBusy: BUSY_STATUSES.has(status),
    });
  }
  const location = headers.get("location");
  if (status >= 300 && status < 400 && location !== null) throw redirectError(exchange, status, location);
  if (status !== 200) {
    throw contractError(exchange, status, refusal(hidden(text, exchange)), remedyOf(exchange, status));
  }
  return { status, text };
}

/** What is to be done about a status that is final; undefined where it says that itself. */
function remedyOf({ token }: Exchange, status: number): string | undefined {
  if (status !== 401 && status !== 403) return undefined;
  return token
    ? "the token that was sent is not this scorer's: set SCORER_TOKEN, or the file of scorer_token_file, to its own"
    : "it asks for a token: set SCORER_TOKEN in the environment, or scorer_token_file to a file that holds it";
}

/** A text of the scorer's without the token, which it may have repeated. */
const hidden = (text: string, { token }: Exchange) => token ? text.replaceAll(token, "***") : text;

/** A redirect that is followed turns a POST into a GET, or sends every batch twice. */
function redirectError(exchange: Exchange, status: number, location: string): ScorerContractError {
  const { url, path } = exchange;
  const target = URL.canParse(location, url + path) ? new URL(location, url + path).href : location;
  const base = target.endsWith(path) ? target.slice(0, target.length - path.length) : target;
  const remedy = base === url || base.startsWith(`${url}/`)
    ? "set scorer_url to a service that answers at that path itself"
    : `set scorer_url to "${excerpt(base)}"`;
  return contractError(exchange, status, `a redirect to ${excerpt(target)}, which is not followed`, remedy);
}

async function send(exchange: Exchange): Promise<{ status: number; headers: Headers; text: string }> {
  const { url, path, body, timeoutMs, signal, token, isFirst } = exchange;
  signal?.throwIfAborted();
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const request: RequestInit & { dispatcher: Agent; client?: object } = {
      method: body === undefined ? "GET" : "POST",
      headers: {
        ...(body !== undefined && { "content-type": "application/json" }),
        ...(token && { authorization: `Bearer ${token}` }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([timeout, signal]) : timeout,
      redirect: "manual",
      dispatcher: patient,
      client: directClient(url),
    };
    const response = await fetch(url + path, request);
    return { status: response.status, headers: response.headers, text: await readText(response, exchange) };
  } catch (error) {
    if (error instanceof ScorerContractError) throw error;
    signal?.throwIfAborted();
    const fault = { request: describe(exchange), cause: error };
    if (timeout.aborted) throw new ConnectionFault(`no answer within ${timeoutMs} ms`, fault);
    const message = messageChain(error);
    throw new ConnectionFault(message, {
      ...fault,
      lasting: isFirst === true && LASTING_FAULT.test(message),
    });
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
      const problem = `more than ${MAX_ANSWER_BYTES} bytes: ${excerpt(hidden(text, exchange))}`;
      throw contractError(exchange, response.status, problem);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** The reason of a refusal where there is one, by the keys that services have for it; else how the body begins. */
function refusal(text: string): string {
  try {
    const { detail, error, message } = JSON.parse(text);
    const reason = [detail, error?.message, error, message].find((one) => one !== undefined);
    if (reason !== undefined) {
      return excerpt(typeof reason === "string" ? reason : JSON.stringify(reason), 500);
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
