/** A scorer whose scores follow from the texts alone, and which remembers what it was asked. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface ScoredBatch {
  prompts: string[];
  responses: string[];
}

/** A request of another API than ours. */
export interface OtherRequest {
  path: string;
  body: Record<string, unknown>;
}

export interface TestScorer {
  url: string;
  /** Requests at the paths of OpenRLHF and vLLM since the last `forget`. */
  others: OtherRequest[];
  /** What requests since the last `forget` had as their authorization; "" where they had none. */
  tokens: Set<string>;
  /** Its health is told as vLLM does, by the status alone. */
  isVllm: boolean;
  /** Added to every cost. */
  costShift: number;
  /** Requests for scores since the last `forget`, those it refused included. */
  batches: ScoredBatch[];
  forget(): void;
  /** Milliseconds before it answers a request for scores. */
  delayMs: number;
  /** Status with which it refuses requests for scores; null to answer them. */
  refusal: number | null;
  close(): Promise<void>;
}

const hashOf = (text: string, start: number) =>
  [...text].reduce((hash, letter) => (Math.imul(hash, 31) + letter.charCodeAt(0)) >>> 0, start);

/** The reward of a completion, between -2 and 2. */
export const rewardOf = (prompt: string, response: string) => hashOf(prompt + response, 7) % 33 / 8 - 2;

/** The cost of a completion, between -2 and 2. */
export const costOf = (prompt: string, response: string) => hashOf(prompt + response, 99) % 31 / 8 - 1.875;

/** What OpenRLHF's and vLLM's services answer; label l of a text has the score of the text and l. */
const OTHER_APIS: Record<string, (body: Record<string, string[]>) => unknown> = {
  "/score_texts": ({ texts }) => ({
    rewards: texts.map((text) => rewardOf(text, "")),
    costs: texts.map((text) => costOf(text, "")),
  }),
  "/get_reward": ({ query }) => ({
    rewards: query.map((text) => rewardOf(text, "")),
    costs: query.map((text) => costOf(text, "")),
  }),
  "/classify": ({ input }) => ({
    data: input.map((text, index) => ({
      index,
      label: "0",
      probs: [0, 1, 2].map((l) => rewardOf(text, `${l}`)),
    })),
  }),
};

/** Starts it on a free port. */
export async function startScorer(): Promise<TestScorer> {
  const server = createServer((request, response) => {
    response.setHeader("content-type", "application/json");
    scorer.tokens.add(request.headers.authorization ?? "");
    if (request.url === "/health") {
      return void response.end(scorer.isVllm ? "" : '{"status":"healthy","device":"test"}');
    }
    let body = "";
    request.on("data", (chunk) => body += chunk).on("end", () => {
      const other = OTHER_APIS[request.url!];
      if (other) {
        scorer.others.push({ path: request.url!, body: JSON.parse(body) });
        return void response.end(JSON.stringify(other(JSON.parse(body))));
      }
      const asked = JSON.parse(body) as ScoredBatch;
      scorer.batches.push(asked);
      setTimeout(() => {
        response.statusCode = scorer.refusal ?? 200;
        const scoresBy = (score: typeof rewardOf) =>
          asked.prompts.map((prompt, i) => score(prompt, asked.responses[i]));
        response.end(JSON.stringify(
          scorer.refusal === null
            ? {
              rewards: scoresBy(rewardOf),
              costs: scoresBy((prompt, text) => costOf(prompt, text) + scorer.costShift),
            }
            : { detail: "busy" },
        ));
      }, scorer.delayMs);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const scorer: TestScorer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    batches: [],
    others: [],
    tokens: new Set(),
    forget() {
      scorer.tokens.clear();
      scorer.batches = [];
      scorer.others = [];
    },
    isVllm: false,
    costShift: 0,
    delayMs: 0,
    refusal: null,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return scorer;
}
