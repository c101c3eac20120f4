/** The contract of protocol.ts as OpenAPI 3.1, made of the schemas that requests are checked with. */
import { z } from "zod";
import { healthSchema, pairsRequestSchema, scoresSchema, textsRequestSchema } from "../protocol.ts";

const refusalSchema = z.object({ detail: z.string() });

const content = (schema: z.ZodType, type = "application/json") => ({
  content: { [type]: { schema: z.toJSONSchema(schema, { target: "draft-2020-12", io: "input" }) } },
});

/** What each refusal means. */
const REFUSALS = {
  400: "Not JSON, or lists of different lengths.",
  401: "The service has a token, and the request does not send it.",
  413: "Too many texts or bytes in one request.",
  422: "JSON of another shape, or a conversation that cannot be read; the detail says where.",
  429: "Too much waits; ask again after Retry-After seconds.",
  500: "Scoring failed.",
  503: "The service is ending; ask again after Retry-After seconds, it may have been started anew.",
} as const;

function refusals(...statuses: (keyof typeof REFUSALS)[]) {
  return Object.fromEntries(
    statuses.map((status) => [status, { description: REFUSALS[status], ...content(refusalSchema) }]),
  );
}

const scoring = (summary: string, request: z.ZodType) => ({
  post: {
    summary,
    requestBody: { required: true, ...content(request) },
    responses: {
      200: {
        description:
          "One finite reward and cost for each text, in their order; of several, a list for each name.",
        ...content(scoresSchema),
      },
      ...refusals(400, 401, 413, 422, 429, 500, 503),
    },
  },
});

/** @param hasToken whether requests need one */
export function openApiDocument(hasToken: boolean) {
  const plain = (summary: string, description: string, type: string) => ({
    get: { summary, responses: { 200: { description, ...content(z.any(), type) }, ...refusals(401, 503) } },
  });
  return {
    openapi: "3.1.0",
    info: { title: "Scorer", version: "1", description: "Rewards and costs of conversations." },
    ...(hasToken && { security: [{ token: [] }] }),
    components: { securitySchemes: { token: { type: "http", scheme: "bearer" } } },
    paths: {
      "/health": {
        get: {
          summary: "Whether the service answers. Who does not send its token is told the status alone.",
          ...(hasToken && { security: [{}, { token: [] }] }),
          responses: {
            200: { description: "It does.", ...content(healthSchema) },
            ...refusals(401, 503),
          },
        },
      },
      "/score_batch": scoring("Scores responses to prompts.", pairsRequestSchema),
      "/score": scoring("The same as /score_batch.", pairsRequestSchema),
      "/score_texts": scoring("Scores whole conversations.", textsRequestSchema),
      "/metrics": plain("Counters for Prometheus.", "Text format 0.0.4.", "text/plain"),
      "/openapi.json": plain("This document.", "OpenAPI 3.1.", "application/json"),
    },
  };
}
