import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { answers } from "../answers.ts";
import { createScorerClient } from "../../src/scorer/client.ts";
import { serveScorer } from "../../src/scorer/serve.ts";
import { scoreInBatches } from "../../src/scorer/service/batches.ts";

/** A scorer on a socket whose models take `delayMs` and record what they scored. */
async function startScorer(t: TestContext, delayMs = 0) {
  const scored: string[] = [];
  const scoreTexts = scoreInBatches({
    prepare: (text) => ({ text, tokens: 1, isCut: false }),
    async score(batch) {
      scored.push(...batch.map(({ text }) => text));
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      return { rewards: batch.map(() => 1), costs: batch.map(() => 2) };
    },
  });
  const scorer = await serveScorer({ scoreTexts, device: "fake", maxBodyBytes: 10_000 });
  t.after(() => scorer.close());
  return { ...scorer, scored };
}

/** Sends raw bytes, waits for the first answer or `waitMs`, hangs up; returns what came. */
function sendRaw(url: string, bytes: string, waitMs: number): Promise<string> {
  return new Promise((resolve) => {
    let received = "";
    const socket = connect(Number(new URL(url).port), "127.0.0.1", () => socket.write(bytes));
    const hangUp = () => socket.destroy();
    const timer = setTimeout(hangUp, waitMs);
    socket.on("data", (chunk) => {
      received += chunk;
      hangUp();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(received);
    });
  });
}

const head = (path: string, headers: string) => `POST ${path} HTTP/1.1\r\nhost: scorer\r\n${headers}\r\n\r\n`;

describe("scorer service", () => {
  it("serves on after clients that send half a request, no HTTP at all, or too much", async (t) => {
    const { url, scored } = await startScorer(t);
    await sendRaw(url, head("/score_texts", "content-length: 1000") + '{"texts": ["half', 30);
    await sendRaw(url, "\u0000\u0001 not HTTP\r\n\r\n", 200);
    const chunk = `${(20_000).toString(16)}\r\n${"x".repeat(20_000)}\r\n`;
    const refused = await sendRaw(url, head("/score_texts", "transfer-encoding: chunked") + chunk, 1000);
    assert.match(refused, /^HTTP\/1.1 413 /);
    const announced = await sendRaw(url, head("/score_texts", "content-length: 99999999999"), 1000);
    assert.match(announced, /^HTTP\/1.1 413 /);
    assert.deepEqual(scored, []);
    const scores = await createScorerClient({ url, retryMaxMs: 0 }).score(answers(["a"], ["b"]));
    assert.deepEqual([scores.rewards, scores.costs], [[1], [2]]);
  });

  it("a request whose client hung up while it queued is not scored", async (t) => {
    const { url, scored } = await startScorer(t, 300);
    const client = createScorerClient({ url, retryMaxMs: 0 });
    await client.checkHealth();
    const first = client.score(answers(["first"], [""]));
    while (scored.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    const body = '{"texts": ["second"]}';
    await sendRaw(url, head("/score_texts", `content-length: ${body.length}`) + body, 20);
    await first;
    await client.score(answers(["third"], [""]));
    assert.deepEqual(scored.map((text) => /USER: (\w+)/.exec(text)?.[1]), ["first", "third"]);
  });
});
