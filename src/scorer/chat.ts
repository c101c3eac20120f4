/** A language model behind an OpenAI-compatible API, asked for one message (POST /v1/chat/completions). */
import { Agent } from "undici";
import type { Message } from "../rl/conversation.ts";
import { directClient } from "./loopback.ts";
import { excerpt, show } from "./messages.ts";
import { backoffMs, ConnectionFault, parseRetryAfterMs, type RetryPolicy } from "./retry.ts";

/** A message of some sentences is some kilobytes; an answer of this size is none. */
const MAX_ANSWER_BYTES = 2 ** 20;
/** How long to wait is said by `timeoutMs` alone, not by Node's fetch. */
const patient = new Agent({ headersTimeout: 0, bodyTimeout: 0 });

export interface ChatService {
  /** As typed: "http://host:8000", "https://host/v1", or the whole address. */
  url: string;
  model: string;
  /** Sent to that address alone, as a bearer token; null for none. */
  key: string | null;
  temperature: number;
  /** Of one attempt. */
  timeoutMs: number;
  retries: RetryPolicy;
}

/**
 * The address that is asked.
 * @throws RangeError when it is no http or https address, or holds a password
 */
export function chatAddress(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (!parsed || !/^https?:$/.test(parsed.protocol) || parsed.username !== "" || parsed.password !== "") {
    throw new RangeError(
      "--judge: required the address of an OpenAI-compatible service without a password in it, such as " +
        `http://localhost:8000; got ${parsed?.password ? "one with a password" : excerpt(url)}`,
    );
  }
  const address = url.replace(/\/+$/, "");
  if (address.endsWith("/chat/completions")) return address;
  return `${address}${/\/v\d+$/.test(address) ? "" : "/v1"}/chat/completions`;
}

/**
 * The text of the model's answer. Refusals for now (408, 429, 5xx) and lost connections are waited for.
 * @throws Error when it refuses, does not answer in time, or answers something else; it names the address
 */
export async function askChat(service: ChatService, messages: readonly Message[]): Promise<string> {
  const { retries } = service;
  const startMs = retries.clock.nowMs();
  for (let faults = 1;; faults++) {
    try {
      return await askOnce(service, messages);
    } catch (error) {
      if (!(error instanceof ConnectionFault)) throw error;
      const waitMs = Math.max(error.retryAfterMs, backoffMs(faults, retries));
      if (retries.clock.nowMs() + waitMs - startMs > retries.maxMs) {
        throw new Error(
          `The judge at ${service.url} does not answer: ${error.message}, after ${faults} attempts; ` +
            "start it or correct --judge, and run this again: what it has judged is kept",
          { cause: error },
        );
      }
      await retries.clock.sleep(waitMs);
    }
  }
}

async function askOnce(service: ChatService, messages: readonly Message[]): Promise<string> {
  const { url, model, key, temperature, timeoutMs } = service;
  const address = chatAddress(url);
  const hidden = (text: string) => key ? text.replaceAll(key, "***") : text;
  const request: RequestInit & { dispatcher: Agent; client?: object } = {
    method: "POST",
    headers: { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) },
    body: JSON.stringify({ model, temperature, messages }),
    signal: AbortSignal.timeout(timeoutMs),
    // The key goes nowhere else.
    redirect: "manual",
    dispatcher: patient,
    client: directClient(address),
  };
  let status: number;
  let text: string;
  let retryAfter: string | null;
  try {
    const response = await fetch(address, request);
    status = response.status;
    retryAfter = response.headers.get("retry-after");
    text = hidden(await readText(response));
  } catch (error) {
    const { message, cause } = error as Error;
    throw new ConnectionFault(hidden(cause instanceof Error ? `${message}: ${cause.message}` : message), {
      cause: error,
    });
  }
  const refuse = (problem: string) => new Error(`The judge at ${url} answered ${status}: ${problem}`);
  if ([408, 425, 429].includes(status) || status >= 500) {
    const retryAfterMs = parseRetryAfterMs(retryAfter, Date.now());
    throw new ConnectionFault(`${status}: ${excerpt(text)}`, { retryAfterMs });
  }
  if (status === 401 || status === 403) {
    throw refuse(`${excerpt(text)}; set OPENAI_API_KEY to a key of that service`);
  }
  if (status !== 200) throw refuse(`${excerpt(text)}; correct --judge or --judge-model`);
  const content = contentOf(text);
  if (typeof content === "string") return content;
  throw refuse(
    `required choices[0].message.content as a text, got ${excerpt(text) || show(content)}; correct --judge`,
  );
}

function contentOf(text: string): unknown {
  try {
    return JSON.parse(text)?.choices?.[0]?.message?.content;
  } catch {
    return undefined;
  }
}

/** The body, as far as an honest answer goes. */
async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > MAX_ANSWER_BYTES) break;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
