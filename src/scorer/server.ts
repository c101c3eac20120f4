/** The scorer service: two score models behind the HTTP contract of protocol.ts. */
import { type Context, Hono } from "hono";
import { HTTPException } from "hono/http-exception";
import type { z } from "zod";
import { formatConversation, type Message, userText } from "../rl/conversation.ts";
import {
  assertScores,
  type Health,
  type PairsRequest,
  pairsRequestSchema,
  type Scores,
  type ScoreTexts,
  textsRequestSchema,
} from "./protocol.ts";

export interface ScorerAppOptions {
  /** Never called before its last call has settled. */
  scoreTexts: ScoreTexts;
  /** What /health reports. */
  device: string;
  /** What `scoreTexts` needs beside texts, reported as well. Default nothing. */
  wants?: readonly "messages"[];
  /** Texts per request; each is one row of a padded batch. Default 256. */
  maxItems?: number;
  /** Default 16 MiB. */
  maxBodyBytes?: number;
  /** Told of each failure that the client sees as 500. */
  onError?: (error: Error) => void;
}

/** The four endpoints as a Hono app, without a socket. */
export function createScorerApp(options: ScorerAppOptions): Hono {
  const { scoreTexts, device, maxItems = 256, maxBodyBytes = 16 * 1024 * 1024 } = options;
  const enqueue = createQueue();
  const app = new Hono();

  /** Scores `batches` one after the other, none of another request in between. */
  async function scoreInTurn(c: Context, batches: readonly Batch[]): Promise<Response> {
    const { signal } = c.req.raw;
    const scores = await enqueue(async () => {
      const scores: Scores = { rewards: [], costs: [] };
      for (const { texts, conversations } of batches) {
        // A client that timed out asks again: working on for a closed connection would double the queue.
        if (signal.aborted) throw new HTTPException(408, { message: "The client closed the connection" });
        const batch = assertScores(await scoreTexts(texts, conversations), texts.length);
        scores.rewards.push(...batch.rewards);
        scores.costs.push(...batch.costs);
      }
      return scores;
    });
    return c.json(scores);
  }

  app.get("/health", (c) => {
    const wants = options.wants?.length ? { wants: [...options.wants] } : {};
    return c.json({ status: "healthy", device, ...wants } satisfies Health);
  });
  app.post("/score", async (c) => {
    const { texts, conversations } = batchOf(
      await readRequest(c, pairsRequestSchema, maxBodyBytes),
      maxItems,
    );
    const one = (text: string, i: number) => ({ texts: [text], conversations: [conversations[i]] });
    return scoreInTurn(c, texts.map(one));
  });
  app.post("/score_batch", async (c) => {
    const batch = batchOf(await readRequest(c, pairsRequestSchema, maxBodyBytes), maxItems);
    return scoreInTurn(c, batch.texts.length > 0 ? [batch] : []);
  });
  app.post("/score_texts", async (c) => {
    const { texts } = await readRequest(c, textsRequestSchema, maxBodyBytes);
    requireAtMost(maxItems, texts.length);
    return scoreInTurn(c, texts.length > 0 ? [{ texts }] : []);
  });
  app.notFound((c) => c.json({ detail: `No ${c.req.method} ${c.req.path} here` }, 404));
  app.onError((error, c) => {
    if (error instanceof HTTPException) return c.json({ detail: error.message }, error.status);
    options.onError?.(error);
    return c.json({ detail: `Scoring failed: ${error.message}` }, 500);
  });
  return app;
}

interface Batch {
  texts: string[];
  /** Absent where texts alone are known. */
  conversations?: Message[][];
}

/** @throws HTTPException when it is too large (413), not JSON (400) or JSON of another shape (422) */
async function readRequest<T>(c: Context, schema: z.ZodType<T>, maxBytes: number): Promise<T> {
  const bytes = await readBody(c.req.raw, maxBytes);
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new HTTPException(400, { message: `The request is not JSON: ${(cause as Error).message}` });
  }
  const request = schema.safeParse(body);
  if (request.success) return request.data;
  const { path, message } = request.error.issues[0];
  throw new HTTPException(422, { message: path.length > 0 ? `${path.join(".")}: ${message}` : message });
}

/** The body, however it is sent (in chunks of unknown length too), given up once it is larger than it may be. */
async function readBody(request: Request, maxBytes: number): Promise<ArrayBuffer> {
  const tooLarge = () =>
    new HTTPException(413, { message: `The request is larger than ${maxBytes} bytes; send fewer texts` });
  if (Number(request.headers.get("content-length")) > maxBytes) throw tooLarge();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of request.body ?? []) {
      sizeBytes += chunk.byteLength;
      if (sizeBytes > maxBytes) throw tooLarge();
      chunks.push(chunk);
    }
    return await new Blob(chunks).arrayBuffer();
  } catch (cause) {
    if (cause instanceof HTTPException) throw cause;
    throw new HTTPException(400, { message: `The request broke off: ${(cause as Error).message}` });
  }
}

/** Texts and conversations of a request. A prompt whose conversation is not given is one turn of the user's. */
function batchOf({ prompts, responses, messages }: PairsRequest, maxItems: number): Required<Batch> {
  if (prompts.length !== responses.length) {
    throw new HTTPException(400, {
      message: `${prompts.length} prompts and ${responses.length} responses: need one response per prompt`,
    });
  }
  if (messages && messages.length !== prompts.length) {
    throw new HTTPException(400, {
      message: `${prompts.length} prompts and ${messages.length} lists of messages: need one list per prompt`,
    });
  }
  requireAtMost(maxItems, prompts.length);
  return {
    texts: prompts.map((prompt, i) => formatConversation(prompt, responses[i])),
    conversations: prompts.map((prompt, i) => [
      ...messages?.[i] ?? [{ role: "user", content: userText(prompt) }],
      { role: "assistant", content: responses[i] },
    ]),
  };
}

function requireAtMost(maxItems: number, items: number): void {
  if (items <= maxItems) return;
  throw new HTTPException(413, {
    message: `${items} texts in one request: at most ${maxItems}; lower scorer_batch_size`,
  });
}

/** Runs jobs one at a time, in the order they came; a job that fails does not hold up the next. */
function createQueue(): <T>(job: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (job) => {
    const current = last.then(job);
    last = current.catch(() => undefined);
    return current;
  };
}
