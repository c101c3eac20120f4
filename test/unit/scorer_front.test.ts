/** The scorer service whose HTTP is answered by a thread of its own. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { after, before, describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import { type ScoreTexts, UnreadableTextError } from "../../src/scorer/protocol.ts";
import type { RefusedRequest } from "../../src/scorer/server.ts";
import { type FrontedScorer, serveScorerApart } from "../../src/scorer/service/front.ts";
import { withinAMinute } from "./within_a_minute.ts";

const TOKEN = "a-token-of-this-test";
const HEADERS = { authorization: `Bearer ${TOKEN}` };

const scoreTexts: ScoreTexts = async (texts, _, signal) => {
  if (texts[0] === "unreadable") throw new UnreadableTextError("no text");
  if (texts[0] === "broken") throw new Error("device lost");
  if (texts[0] !== "hangs") return { rewards: texts.map((text) => text.length), costs: texts.map(() => -1) };
  return await new Promise((_, reject) => {
    signal!.addEventListener("abort", () => (gone(), reject(signal!.reason)));
    hung();
  });
};
let gone = () => {};
let hung = () => {};

describe("a scorer with a thread for HTTP", () => {
  let scorer: FrontedScorer;
  const refused: RefusedRequest[] = [];
  const cut: number[] = [];
  before(async () => {
    scorer = await serveScorerApart({
      scoreTexts,
      device: "fake",
      token: TOKEN,
      onRefusal: (refusal) => refused.push(refusal),
      onCut: (conversations) => cut.push(conversations),
    });
  });
  after(() => scorer.close());

  const send = async (...texts: string[]) => {
    const body = JSON.stringify({ texts });
    const response = await fetch(`${scorer.url}/score_texts`, { method: "POST", headers: HEADERS, body });
    return { status: response.status, body: await response.json() };
  };

  it("scores in this thread, and hands its errors on", async () => {
    assert.deepEqual(await send("a", "bcd"), { status: 200, body: { rewards: [1, 3], costs: [-1, -1] } });
    assert.deepEqual(await send("unreadable"), { status: 422, body: { detail: "no text" } });
    assert.deepEqual(await send("broken"), { status: 500, body: { detail: "Scoring failed: device lost" } });
    assert.deepEqual(refused.map(({ status }) => status), [422, 500]);
  });

  it("answers /health while this thread has no time for anything", async () => {
    const code = `
      const { parentPort, workerData } = require("node:worker_threads");
      const sleep = () => new Promise((resolve) => setTimeout(resolve, 10));
      (async () => {
        await (await fetch(workerData)).text();
        parentPort.postMessage("begins");
        const waits = [];
        for (let i = 0; i < 20; i++) {
          const startedAt = performance.now();
          await (await fetch(workerData)).text();
          waits.push(performance.now() - startedAt);
          await sleep();
        }
        parentPort.postMessage(waits);
      })();`;
    const client = new Worker(code, { eval: true, workerData: `${scorer.url}/health` });
    const said = () => new Promise<unknown>((resolve) => client.once("message", resolve));
    await said();
    const waits = said();
    for (const end = performance.now() + 1500; performance.now() < end;);
    const slowest = Math.max(...await withinAMinute(waits, "the health is told") as number[]);
    await client.terminate();
    assert.ok(slowest < 1000, `${slowest} ms`);
  });

  it("tells this thread of clients that are gone", async () => {
    const isGone = new Promise<void>((resolve) => gone = resolve);
    const isHung = new Promise<void>((resolve) => hung = resolve);
    const sent = request(`${scorer.url}/score_texts`, { method: "POST", headers: HEADERS });
    sent.on("error", () => {}).end('{"texts": ["hangs"]}');
    await isHung;
    sent.destroy();
    await withinAMinute(isGone, "the texts are given up");
  });

  it("has the numbers of batches in its metrics", async () => {
    scorer.report({ texts: 3, tokens: 70, seconds: 0.02, gpuBytes: 12345 });
    const lines = ["scorer_gpu_bytes 12345", "scorer_batch_texts_sum 3", "scorer_batch_tokens_count 1"];
    let told: string[] = [];
    // The report goes from thread to thread, and the request may come before it.
    for (let tries = 0; tries < 100 && !lines.every((line) => told.includes(line)); tries++) {
      told = (await (await fetch(`${scorer.url}/metrics`, { headers: HEADERS })).text()).split("\n");
    }
    for (const line of lines) assert.ok(told.includes(line), line);
  });

  it("that cannot listen says so, as one without", async () => {
    const port = Number(new URL(scorer.url).port);
    const options = { scoreTexts, device: "fake" };
    await assert.rejects(
      serveScorerApart({ ...options, port }),
      /Cannot listen on 127\.0\.0\.1:\d+: .*another port/,
    );
    await assert.rejects(serveScorerApart({ ...options, hostname: "0.0.0.0" }), /open to other machines/);
  });
});
