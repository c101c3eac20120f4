/** The scorer service: two score models behind the HTTP contract of protocol.ts. */
import { type Context, Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { z } from "zod";
import {
  assertScores,
  type Health,
  pairsRequestSchema,
  type Scores,
  type ScoreTexts,
  sentScores,
  textsRequestSchema,
  UnreadableTextError,
} from "./protocol.ts";
import { tokenCheck, unauthorized } from "./service/access.ts";
import { createAdmission } from "./service/admission.ts";
import { createServiceMetrics, METRICS_TYPE, type ServiceMetrics } from "./service/metrics.ts";
import { openApiDocument } from "./service/openapi.ts";
import { Refusal, retryAfter } from "./service/refusal.ts";
import {
  type Conversations,
  conversationsOf,
  parseRequest,
  readBody,
  requireAtMost,
} from "./service/requests.ts";

export interface ScorerAppOptions {
  /** May be called while earlier calls are not done. */
  scoreTexts: ScoreTexts;
  /** What /health reports. */
  device: string;
  /** What `scoreTexts` needs beside texts, reported as well. Default nothing. */
  wants?: readonly "messages"[];
  /** Texts per request. Default 256. */
  maxItems?: number;
  /** Default 16 MiB. */
  maxBodyBytes?: number;
  /** Tokens of a text that are read: no text counts more in the queue. Default 512. */
  maxLength?: number;
  /** Tokens that may wait; what is more is refused with 429. Default 1 Mi. */
  maxQueueTokens?: number;
  /** What requests must send as their bearer token. Default: none is asked for. */
  token?: string;
  /** Default: counted for /metrics alone. */
  metrics?: ServiceMetrics;
  /** Told of each request that is refused or fails. */
  onRefusal?: (refusal: RefusedRequest) => void;
  /** Told of each failure that the client sees as 500. */
  onError?: (error: Error) => void;
  /** Told how many conversations of a request were longer than is read, where there are any. */
  onCut?: (conversations: number) => void;
}

export interface RefusedRequest {
  method: string;
  route: string;
  status: number;
  detail: string;
}

/** The endpoints as a Hono app, without a socket. */
export interface ScorerApp extends Hono {
  /** From now on every new request is answered with 503. @returns once all before are answered */
  drain(): Promise<void>;
}

/** What a route answers to. HEAD is answered wherever GET is. */
const ROUTES: Readonly<Record<string, string>> = {
  "/health": "GET, HEAD",
  "/metrics": "GET, HEAD",
  "/openapi.json": "GET, HEAD",
  "/score": "POST",
  "/score_batch": "POST",
  "/score_texts": "POST",
};
/** Requests of the largest size that may be read or wait at once. */
const LARGEST_REQUESTS = 4;
/** What stands around a text: BOS and EOS. */
const FRAME_TOKENS = 2;

export function createScorerApp(options: ScorerAppOptions): ScorerApp {
  const { device, token, maxItems = 256, maxBodyBytes = 16 * 2 ** 20, maxLength = 512 } = options;
  const { maxQueueTokens = 2 ** 20, metrics = createServiceMetrics() } = options;
  const admission = createAdmission({
    queueTokens: maxQueueTokens,
    queueBytes: LARGEST_REQUESTS * maxBodyBytes,
  });
  const knows = token === undefined ? () => true : tokenCheck(token);
  const isAuthorized = (c: Context) => knows(c.req.header("authorization") ?? null);
  const openRequests = new Set<Context>();
  let whenIdle: (() => void) | undefined;
  let isDraining = false;
  const app = new Hono();

  function refuse(c: Context, { status, message, headers }: Refusal): Response {
    options.onRefusal?.({ method: c.req.method, route: routeOf(c), status, detail: message });
    return c.json({ detail: message }, status as ContentfulStatusCode, headers);
  }

  app.use(async (c, next) => {
    const startedAt = performance.now();
    openRequests.add(c);
    try {
      if (isDraining) c.res = refuse(c, new Refusal(503, "This scorer is ending", retryAfter(DRAIN_SECONDS)));
      else await next();
    } finally {
      metrics.request(routeOf(c), c.res.status, (performance.now() - startedAt) / 1000);
      openRequests.delete(c);
      if (openRequests.size === 0) whenIdle?.();
    }
  });
  app.get("/health", (c) => {
    if (!isAuthorized(c)) return c.json({ status: "healthy" });
    const wants = options.wants?.length ? { wants: [...options.wants] } : {};
    return c.json({ status: "healthy", device, ...wants } satisfies Health);
  });
  app.use(async (c, next) => {
    const allow = ROUTES[c.req.path];
    if (allow === undefined) throw new Refusal(404, `No ${c.req.path} here`);
    if (!allow.split(", ").includes(c.req.method)) {
      throw new Refusal(405, `${c.req.path} takes ${allow}, not ${c.req.method}`, { allow });
    }
    if (!isAuthorized(c)) throw unauthorized("got none");
    await next();
  });
  app.get("/metrics", (c) => {
    const now = {
      queueTokens: admission.waiting("tokens"),
      queueBytes: admission.waiting("bytes"),
      requests: openRequests.size - 1,
    };
    return c.body(metrics.text(now), 200, { "content-type": METRICS_TYPE });
  });
  app.get("/openapi.json", (c) => c.json(openApiDocument(token !== undefined)));

  /** @param read narrows a request to texts, or throws */
  function scoring<T>(path: string, schema: z.ZodType<T>, read: (request: T) => Conversations): void {
    app.post(path, async (c) => {
      const releases: (() => void)[] = [];
      try {
        let counted = 0;
        const bytes = await readBody(c.req.raw, maxBodyBytes, (sizeBytes) => {
          releases.push(admission.admit("bytes", sizeBytes - counted));
          counted = sizeBytes;
        });
        const { texts, conversations } = read(parseRequest(bytes, schema));
        const mostTokens = (text: string) => Math.min(maxLength, Buffer.byteLength(text) + FRAME_TOKENS);
        releases.push(admission.admit("tokens", texts.reduce((sum, text) => sum + mostTokens(text), 0)));
        const scores = await scoresOf(texts, conversations, c.req.raw.signal);
        const cut = scores.truncated?.filter(Boolean).length ?? 0;
        metrics.cut(cut);
        if (cut > 0) options.onCut?.(cut);
        return c.json(sentScores(scores));
      } finally {
        releases.forEach((release) => release());
      }
    });
  }

  async function scoresOf(
    texts: string[],
    conversations: Conversations["conversations"],
    signal: AbortSignal,
  ): Promise<Scores> {
    if (texts.length === 0) return { rewards: [], costs: [] };
    try {
      // A client that timed out asks again: working on for a closed connection would double the queue.
      signal.throwIfAborted();
      return assertScores(await options.scoreTexts(texts, conversations, signal), texts.length);
    } catch (error) {
      if (signal.aborted) throw new Refusal(408, "The client closed the connection");
      if (error instanceof UnreadableTextError) throw new Refusal(422, error.message);
      throw error;
    }
  }
  const readPairs = (request: z.infer<typeof pairsRequestSchema>) => conversationsOf(request, maxItems);
  scoring("/score", pairsRequestSchema, readPairs);
  scoring("/score_batch", pairsRequestSchema, readPairs);
  scoring("/score_texts", textsRequestSchema, ({ texts }) => {
    requireAtMost(maxItems, texts.length);
    return { texts };
  });
  app.onError((error, c) => {
    if (error instanceof Refusal) return refuse(c, error);
    options.onError?.(error);
    return refuse(c, new Refusal(500, `Scoring failed: ${error.message}`));
  });
  return Object.assign(app, {
    drain() {
      isDraining = true;
      return openRequests.size === 0 ? Promise.resolve() : new Promise<void>((resolve) => whenIdle = resolve);
    },
  });
}

/** After which a service that is ending may have been started anew. */
const DRAIN_SECONDS = 5;

/** The route as it is counted and logged: never a path that a client made up. */
const routeOf = (c: Context) => Object.hasOwn(ROUTES, c.req.path) ? c.req.path : "other";
