import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { describe, it, type TestContext } from "node:test";
import { answers } from "../answers.ts";
import fc from "fast-check";
import "../seeded_properties.ts";
import { formatConversation } from "../../src/rl/conversation.ts";
import { createScorerClient } from "../../src/scorer/client.ts";
import type { ScoreTexts } from "../../src/scorer/protocol.ts";
import { serveScorer, type ServeScorerOptions } from "../../src/scorer/serve.ts";

/** A reward and a cost that tell which text they belong to. */
const sum = (text: string) => Array.from(text, (c) => c.codePointAt(0) ?? 0).reduce((a, b) => a + b, 0);
const scoreTexts: ScoreTexts = (texts) =>
  Promise.resolve({
    rewards: texts.map((text) => text.length / 3),
    costs: texts.map((text) => -sum(text) / 4096),
  });

/** A scorer on a free port of this machine, its score model recording the texts of each call. */
async function startScorer(t: TestContext, options: Partial<ServeScorerOptions> = {}) {
  const calls: string[][] = [];
  const record: ScoreTexts = (texts) => {
    calls.push(texts);
    return scoreTexts(texts);
  };
  const scorer = await serveScorer({ scoreTexts: record, device: "fake", ...options });
  t.after(() => scorer.close());
  return { ...scorer, calls };
}

describe("scorer client", () => {
  it("splits into batches and keeps the order: 7 completions in batches of 3, 3, 1", async (t) => {
    const { url, calls } = await startScorer(t);
    const prompts = Array.from({ length: 7 }, (_, i) => `prompt ${i}`);
    const responses = prompts.map((_, i) => "x".repeat(i));
    const scores = await createScorerClient({ url, batchSize: 3 }).score(answers(prompts, responses));
    assert.deepEqual(calls.map((texts) => texts.length), [3, 3, 1]);
    const texts = prompts.map((prompt, i) => formatConversation(prompt, responses[i]));
    assert.deepEqual(calls.flat(), texts);
    assert.deepEqual(scores, await scoreTexts(texts));
  });

  it("scores do not depend on the batch size, and any text arrives unchanged", async (t) => {
    const { url, calls } = await startScorer(t);
    const text = fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.constantFrom("USER: a ASSISTANT: b", '\u2028\u0000\\"', "\ud800", "</script>", ""),
    );
    const pairs = fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 9 });
    const client = createScorerClient({ url });
    await fc.assert(
      fc.asyncProperty(pairs, fc.integer({ min: 1, max: 10 }), async (pairs, batchSize) => {
        calls.length = 0;
        const prompts = pairs.map(([prompt]) => prompt);
        const responses = pairs.map(([, response]) => response);
        const scores = await client.score(answers(prompts, responses), { batchSize });
        const texts = pairs.map(([prompt, response]) => formatConversation(prompt, response));
        assert.deepEqual(calls.flat(), texts);
        assert.deepEqual(scores, await scoreTexts(texts));
      }),
      { numRuns: 30 },
    );
  });

  it("takes slashes off its URL, names the device, and sends nothing where there is nothing to score", async (t) => {
    const { url, calls } = await startScorer(t);
    const client = createScorerClient({ url: `${url}//` });
    assert.equal(client.url, url);
    assert.deepEqual(await client.checkHealth(), { status: "healthy", device: "fake" });
    assert.deepEqual(await client.score(answers([], [])), { rewards: [], costs: [] });
    assert.equal(calls.length, 0);
  });

  it("refuses a bad URL and a bad option before it sends anything", async (t) => {
    const { url, calls } = await startScorer(t);
    await assert.rejects(
      createScorerClient({ url }).score(answers(["a"], ["c"]), { batchSize: 0 }),
      RangeError,
    );
    assert.throws(() => createScorerClient({ url: "localhost:8000" }), TypeError);
    assert.throws(() => createScorerClient({ url, retryMaxMs: -1 }), RangeError);
    assert.throws(() => createScorerClient({ url, timeoutMs: NaN }), RangeError);
    assert.equal(calls.length, 0);
  });

  it("passes on the server's own refusal with its detail, without a retry", async (t) => {
    const { url } = await startScorer(t, { maxItems: 2, maxBodyBytes: 1000 });
    const client = createScorerClient({ url, onRetry: () => assert.fail("retried a refusal") });
    const refused = (status: number, detail: RegExp) => (error: Error & { status?: number }) => {
      assert.equal(error.name, "ScorerContractError");
      assert.equal(error.status, status);
      assert.match(error.message, detail);
      return true;
    };
    await assert.rejects(
      client.score(answers(["a", "b", "c"], ["", "", ""])),
      refused(413, /at most 2; lower scorer_batch_size/),
    );
    await assert.rejects(
      client.score(answers(["a".repeat(300_000)], [""])),
      refused(413, /larger than 1000 bytes/),
    );
  });
});

describe("serveScorer()", () => {
  it("close() lets the request in progress finish, then refuses connections", async () => {
    let started = () => {};
    let finish = () => {};
    const running = new Promise<void>((resolve) => started = resolve);
    const gate = new Promise<void>((resolve) => finish = resolve);
    const scorer = await serveScorer({
      device: "fake",
      scoreTexts: async (texts) => {
        started();
        await gate;
        return scoreTexts(texts);
      },
    });
    const client = createScorerClient({ url: scorer.url, retryMaxMs: 0 });
    const scores = client.score(answers(["a"], ["b"]));
    await running;
    const closed = scorer.close();
    assert.equal(scorer.close(), closed);
    finish();
    assert.deepEqual(await scores, await scoreTexts([formatConversation("a", "b")]));
    await closed;
    await assert.rejects(client.score(answers(["a"], ["b"])), { name: "ScorerUnavailableError" });
  });

  it("an answer given while it closes ends its connection, which would keep the service open", async (t) => {
    let started = () => {};
    let finish = () => {};
    const running = new Promise<void>((resolve) => started = resolve);
    const gate = new Promise<void>((resolve) => finish = resolve);
    const slow: ScoreTexts = async (texts) => {
      started();
      await gate;
      return scoreTexts(texts);
    };
    const scorer = await serveScorer({ device: "fake", scoreTexts: slow });
    t.after(() => scorer.close());
    const agent = new Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const connection = new Promise<string | undefined>((resolve, reject) => {
      const sent = request(`${scorer.url}/score_texts`, { method: "POST", agent }, (response) => {
        resolve(response.headers.connection);
        response.resume();
      });
      sent.on("error", reject).end('{"texts": ["a"]}');
    });
    await running;
    const closed = scorer.close();
    finish();
    assert.equal(await connection, "close");
    await closed;
  });

  it("takes a body that comes in chunks of unknown number, up to its limit", async (t) => {
    const { url } = await startScorer(t, { maxBodyBytes: 1000 });
    const send = (text: string) =>
      new Promise<{ status?: number; body: string }>((resolve, reject) => {
        const headers = { "transfer-encoding": "chunked" };
        const sent = request(`${url}/score_batch`, { method: "POST", headers }, async (response) => {
          let body = "";
          for await (const chunk of response) body += chunk;
          resolve({ status: response.statusCode, body });
        });
        sent.on("error", reject);
        sent.write(text.slice(0, 20));
        setTimeout(() => sent.end(text.slice(20)), 20);
      });
    const { status, body } = await send('{"prompts": ["a"], "responses": ["b"]}');
    assert.equal(status, 200, body);
    assert.deepEqual(JSON.parse(body), await scoreTexts([formatConversation("a", "b")]));
    const large = await send(JSON.stringify({ prompts: ["a".repeat(2000)], responses: ["b"] }));
    assert.deepEqual([large.status, /larger than 1000 bytes/.test(large.body)], [413, true], large.body);
  });

  it("close() cuts off a request that outlasts the grace", async () => {
    const scorer = await serveScorer({
      device: "fake",
      graceMs: 20,
      scoreTexts: () => new Promise(() => {}),
    });
    const client = createScorerClient({ url: scorer.url, retryMaxMs: 0 });
    const cut = assert.rejects(client.score(answers(["a"], ["b"])), { name: "ScorerUnavailableError" });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await scorer.close();
    await cut;
  });

  it("a port in use is an error that names it and the way out", async (t) => {
    const { url } = await startScorer(t);
    const port = Number(new URL(url).port);
    await assert.rejects(startScorer(t, { port }), (error: Error) => {
      assert.equal(error.message.indexOf(`Cannot listen on 127.0.0.1:${port}: `), 0, error.message);
      assert.match(error.message, /choose another port/);
      return true;
    });
  });

  it("leaves the process's own Request and Response alone", async (t) => {
    const before = [globalThis.Request, globalThis.Response];
    await startScorer(t);
    assert.deepEqual([globalThis.Request, globalThis.Response], before);
  });
});
