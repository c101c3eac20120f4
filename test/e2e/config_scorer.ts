/** A scorer whose scores follow from the texts alone, and which remembers what it was asked. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface ScoredBatch {
  prompts: string[];
  responses: string[];
}

export interface TestScorer {
  url: string;
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

/** Starts it on a free port. */
export async function startScorer(): Promise<TestScorer> {
  const server = createServer((request, response) => {
    response.setHeader("content-type", "application/json");
    if (request.url === "/health") return void response.end('{"status":"healthy","device":"test"}');
    let body = "";
    request.on("data", (chunk) => body += chunk).on("end", () => {
      const asked = JSON.parse(body) as ScoredBatch;
      scorer.batches.push(asked);
      setTimeout(() => {
        response.statusCode = scorer.refusal ?? 200;
        const scoresBy = (score: typeof rewardOf) =>
          asked.prompts.map((prompt, i) => score(prompt, asked.responses[i]));
        response.end(JSON.stringify(
          scorer.refusal === null
            ? { rewards: scoresBy(rewardOf), costs: scoresBy(costOf) }
            : { detail: "busy" },
        ));
      }, scorer.delayMs);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const scorer: TestScorer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    batches: [],
    forget: () => scorer.batches = [],
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
