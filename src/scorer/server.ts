/** The scorer service: two score models behind the HTTP contract of protocol.ts. */
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { HTTPException } from "hono/http-exception";
import type { z } from "zod";
import { formatConversation } from "../rl/conversation.ts";
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
  async function scoreInTurn(c: Context, batches: string[][]): Promise<Response> {
    const { signal } = c.req.raw;
    const scores = await enqueue(async () => {
      const scores: Scores = { rewards: [], costs: [] };
      for (const texts of batches) {
        // A client that timed out asks again: working on for a closed connection would double the queue.
        if (signal.aborted) throw new HTTPException(408, { message: "The client closed the connection" });
        const batch = assertScores(await scoreTexts(texts), texts.length);
        scores.rewards.push(...batch.rewards);
        scores.costs.push(...batch.costs);
      }
      return scores;
    });
    return c.json(scores);
  }

  app.use(bodyLimit({
    maxSize: maxBodyBytes,
    onError: (c) =>
      c.json({ detail: `The request is larger than ${maxBodyBytes} bytes; send fewer texts` }, 413),
  }));
  app.get("/health", (c) => c.json({ status: "healthy", device } satisfies Health));
  app.post("/score", async (c) => {
    const texts = conversations(await readRequest(c, pairsRequestSchema), maxItems);
    return scoreInTurn(c, texts.map((text) => [text]));
  });
  app.post("/score_batch", async (c) => {
    const texts = conversations(await readRequest(c, pairsRequestSchema), maxItems);
    return scoreInTurn(c, texts.length > 0 ? [texts] : []);
  });
  app.post("/score_texts", async (c) => {
    const { texts } = await readRequest(c, textsRequestSchema);
    requireAtMost(maxItems, texts.length);
    return scoreInTurn(c, texts.length > 0 ? [texts] : []);
  });
  app.notFound((c) => c.json({ detail: `No ${c.req.method} ${c.req.path} here` }, 404));
  app.onError((error, c) => {
    if (error instanceof HTTPException) return c.json({ detail: error.message }, error.status);
    options.onError?.(error);
    return c.json({ detail: `Scoring failed: ${error.message}` }, 500);
  });
  return app;
}

/** @throws HTTPException when it is not JSON (400) or JSON of another shape (422) */
async function readRequest<T>(c: Context, schema: z.ZodType<T>): Promise<T> {
  const bytes = await c.req.arrayBuffer().catch((cause: Error) => {
    throw new HTTPException(400, { message: `The request broke off: ${cause.message}` });
  });
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

function conversations({ prompts, responses }: PairsRequest, maxItems: number): string[] {
  if (prompts.length !== responses.length) {
    throw new HTTPException(400, {
      message: `${prompts.length} prompts and ${responses.length} responses: need one response per prompt`,
    });
  }
  requireAtMost(maxItems, prompts.length);
  return prompts.map((prompt, i) => formatConversation(prompt, responses[i]));
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
