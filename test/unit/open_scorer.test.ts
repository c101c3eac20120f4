/** The config's scorer keys, on their way to the service. */
import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { mock, test, type TestContext } from "node:test";
import { answers } from "../answers.ts";
import { openScorer } from "../../src/assembly/scorer.ts";
import { commandLine } from "../../src/config/command_line.ts";
import { defaultConfig } from "../../src/config/schema.ts";
import { createScorerClient } from "../../src/scorer/client.ts";

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const HEALTH = '{"status": "healthy", "device": "fake"}';

/** A scorer that answers every batch: how many completions each held, and what was asked in which order. */
async function serveBatches(t: TestContext) {
  const sizes: number[] = [];
  const asked: string[] = [];
  const url = await serve(t, async (request, response) => {
    asked.push(request.url!);
    if (request.method === "GET") return void response.end(HEALTH);
    let text = "";
    for await (const chunk of request) text += chunk;
    const { prompts } = JSON.parse(text);
    sizes.push(prompts.length);
    response.end(JSON.stringify({ rewards: prompts.map(() => 1), costs: prompts.map(() => 2) }));
  });
  return { url, sizes, asked };
}

const open = (
  scorer_url: string,
  change: Partial<ReturnType<typeof defaultConfig>>,
  printed: string[] = [],
) =>
  openScorer({ ...defaultConfig(), ...change, scorer_url }, {
    device: "fake",
    events: { onMessage: (text) => printed.push(text) },
  });

test("scorer_timeout is in seconds: a service that stays silent is given up after as many", async (t) => {
  const url = await serve(t, () => {});
  const within = (scorer_timeout: number, words: RegExp) =>
    assert.rejects(open(url, { scorer_timeout, scorer_retry_max_s: 0 }), words);
  await within(0.05, /no answer within 50 ms/);
  await within(0.0561, /no answer within 56 ms/);
  await within(1e-6, /no answer within 1 ms/);
});

test("a wait for a scorer's address that is aborted ends with the signal's reason", async () => {
  const aborted = new AbortController();
  const why = new Error("the caller is tired");
  const waits = openScorer({ ...defaultConfig(), scorer_url: "file:no_such_scorer.url" }, {
    device: "fake",
    events: { onMessage: () => aborted.abort(why) },
    signal: aborted.signal,
  });
  await assert.rejects(waits, why);
});

test("every rank asks all services, first number r % n, and waits for none whose address is not written", async (t) => {
  const services = [await serveBatches(t), await serveBatches(t)];
  const scorer_url = services.map(({ url }) => url).join(",");
  const sizes = () => services.map(({ sizes }) => sizes.splice(0));
  for (const rank of [0, 1, 2, 3]) {
    const { scorer } = await openScorer({ ...defaultConfig(), scorer_url }, { device: "fake", rank });
    await scorer.score(answers(["a"], ["b"]));
    assert.deepEqual(sizes(), rank % 2 === 0 ? [[1], []] : [[], [1]]);
    assert.equal(scorer.callsAtOnce!(), 2);
    await scorer.score(answers(["a", "b"], ["", ""]), { batchSize: 1 });
    assert.deepEqual(sizes(), [[1], [1]], "one batch each, at once");
  }
  const withFile = { ...defaultConfig(), scorer_url: `file:no_such_scorer.url,${services[0].url}` };
  const { scorer } = await openScorer(withFile, { device: "fake", rank: 0 });
  assert.deepEqual(await scorer.score(answers(["a"], ["b"])), { rewards: [1], costs: [2] });
});

test("a timeout longer than a timer can count does not end at once", async (t) => {
  const { url } = await serveBatches(t);
  const opened = await open(url, { scorer_timeout: 1e9, scorer_retry_max_s: 0 });
  assert.deepEqual(await opened.scorer.score(answers(["a"], ["b"])), { rewards: [1], costs: [2] });
  await opened.close();
});

test("a question after the health may take 30 seconds at most, a batch the whole of scorer_timeout", async (t) => {
  const { url } = await serveBatches(t);
  const limits: number[] = [];
  const limit = AbortSignal.timeout.bind(AbortSignal);
  const recorded = mock.method(AbortSignal, "timeout", (ms: number) => {
    limits.push(ms);
    return limit(ms);
  });
  t.after(() => recorded.mock.restore());
  const { scorer, close } = await open(url, { scorer_timeout: 120 });
  await scorer.score(answers(["a"], ["b"]));
  await close();
  assert.deepEqual(limits.splice(0), [30_000, 120_000]);
  await createScorerClient({ url }).score(answers(["a"], ["b"]));
  assert.deepEqual(limits, [30_000, 300_000], "five minutes unless it is said");
});

test("scorer_retry_max_s is in seconds; a long outage is told when it begins, and not at each try", async (t) => {
  let requests = 0;
  const url = await serve(t, (_, response) => {
    requests++;
    response.writeHead(503, { "retry-after": "0" }).end();
  });
  const printed: string[] = [];
  const began = performance.now();
  await assert.rejects(open(url, { scorer_retry_max_s: 1.2 }, printed), /attempts in 1 s; last error: 503/);
  const spentMs = performance.now() - began;
  assert.ok(spentMs >= 1190 && spentMs < 20_000, `${spentMs} ms`);
  assert.ok(requests >= 2, `${requests} requests`);
  const [line, ...more] = printed;
  assert.deepEqual(more, []);
  assert.equal(
    line,
    `Scorer ${url} does not answer (503: no explanation); asking again for up to 1 s (scorer_retry_max_s); ` +
      `\`${commandLine(process.env, "scorer")}\` starts one, Ctrl-C ends the wait`,
  );
});

test("scores beyond scorer_max_abs_score are refused with their place and prompt, those of a function too", async (t) => {
  const url = await serve(t, (request, response) => {
    if (request.method === "GET") return void response.end(HEALTH);
    response.end('{"rewards": [1, -2e6], "costs": [1e6, 1]}');
  });
  const { scorer } = await open(url, {});
  await assert.rejects(scorer.score(answers(["a", "why so?"], ["", ""])), (error: Error) => {
    assert.equal(error.name, "ScorerContractError");
    assert.ok(error.message.includes(url));
    assert.match(
      error.message,
      /"rewards"\[1\] is -2000000, for an answer to "why so\?"; need a score between/,
    );
    assert.match(error.message, /raise scorer_max_abs_score$/);
    return true;
  });
  const wide = await open(url, { scorer_max_abs_score: 2e6 });
  assert.deepEqual((await wide.scorer.score(answers(["a", "b"], ["", ""]))).rewards, [1, -2e6]);
  const own = { score: () => Promise.resolve({ rewards: [0], costs: [1e300] }) };
  const bounded = await openScorer({ ...defaultConfig(), scorer_url: null }, { device: "fake", scorer: own });
  await assert.rejects(
    bounded.scorer.score(answers(["a"], [""])),
    /Scores are broken: "costs"\[0\] is 1e\+300/,
  );
});

test("conversations that a service cut are told once, and counted", async (t) => {
  const url = await serve(t, (request, response) => {
    if (request.method === "GET") return void response.end(HEALTH);
    response.end('{"rewards": [1, 2], "costs": [3, 4], "truncated": [false, true]}');
  });
  const printed: string[] = [];
  const { scorer } = await open(url, {}, printed);
  for (let call = 0; call < 2; call++) await scorer.score(answers(["a", "b"], ["", ""]));
  assert.equal(printed.length, 1);
  assert.match(printed[0], /the scorer read 1 of 2 conversations only up to its limit/);
  assert.deepEqual(scorer.takeStats!(), { retries: 0, waitSeconds: 0, told: 4, cut: 2 });
  assert.deepEqual(scorer.takeStats!(), { retries: 0, waitSeconds: 0, told: 0, cut: 0 });
});

test("scorer_route score_texts sends whole conversations", async (t) => {
  const asked: unknown[] = [];
  const url = await serve(t, async (request, response) => {
    if (request.method === "GET") return void response.end(HEALTH);
    let text = "";
    for await (const chunk of request) text += chunk;
    asked.push([request.url, JSON.parse(text)]);
    response.end('{"rewards": [1], "costs": [2]}');
  });
  const { scorer } = await open(url, { scorer_route: "score_texts" });
  assert.deepEqual(await scorer.score(answers(["Why?"], [" So."])), { rewards: [1], costs: [2] });
  assert.deepEqual(asked, [[
    "/score_texts",
    { texts: ["BEGINNING OF CONVERSATION: USER: Why? ASSISTANT: So."] },
  ]]);
});

test("scorer_batch_size is how many completions a request holds, unless the caller says otherwise", async (t) => {
  const { url, sizes } = await serveBatches(t);
  const { scorer, close } = await open(url, { scorer_batch_size: 2 });
  const texts = ["a", "b", "c", "d", "e"];
  assert.deepEqual(await scorer.score(answers(texts, texts)), {
    rewards: Array(5).fill(1),
    costs: Array(5).fill(2),
  });
  assert.deepEqual(sizes.splice(0), [2, 2, 1]);
  await scorer.score(answers(texts, texts), { batchSize: 4 });
  assert.deepEqual(sizes.splice(0), [4, 1]);
  await close();
});

test("a client asks after the health once, before its first batch, and not where there is nothing to score", async (t) => {
  const { url, asked } = await serveBatches(t);
  const client = createScorerClient({ url, batchSize: 2 });
  await client.score(answers([], []));
  assert.deepEqual(asked, []);
  await client.score(answers(["a"], ["b"]));
  await client.score(answers(["a", "b", "c", "d"], ["", "", "", ""]));
  assert.deepEqual(asked.splice(0), ["/health", "/score_batch", "/score_batch", "/score_batch"]);
  const checked = createScorerClient({ url });
  await checked.checkHealth();
  await checked.score(answers(["a"], ["b"]));
  assert.deepEqual(asked, ["/health", "/score_batch"]);
});

test("a client without options sends 32 completions at a time", async (t) => {
  const { url, sizes } = await serveBatches(t);
  const texts = Array.from({ length: 65 }, (_, i) => `${i}`);
  await createScorerClient({ url }).score(answers(texts, texts));
  assert.deepEqual(sizes, [32, 32, 1]);
});

test("options out of range are refused by name, those at the bound are taken", () => {
  const url = "http://localhost:1";
  const refused = (options: object, words: RegExp) =>
    assert.throws(() => createScorerClient({ url, ...options }), words);
  refused({ timeoutMs: 0 }, /timeoutMs is 0: need a whole number, at least 1/);
  refused({ timeoutMs: 1.5 }, /timeoutMs is 1.5/);
  refused({ batchSize: 0 }, /batchSize is 0: need a whole number, at least 1/);
  refused({ retryMaxMs: 0.5 }, /retryMaxMs is 0.5: need a whole number, at least 0/);
  refused({ rank: -1 }, /rank is -1: need a whole number, at least 0/);
  createScorerClient({ url, timeoutMs: 1, batchSize: 1, retryMaxMs: 0 });
});

test("a scorer of one's own class keeps what it says of itself", async () => {
  class Own {
    get sharesGpu() {
      return true;
    }
    takeStats() {
      return { retries: 1, waitSeconds: 2, told: 3, cut: 0 };
    }
    score() {
      return Promise.resolve({ rewards: [1], costs: [2] });
    }
  }
  const { scorer } = await openScorer({ ...defaultConfig(), scorer_url: null }, {
    device: "fake",
    scorer: new Own(),
  });
  assert.deepEqual([scorer.sharesGpu, scorer.takeStats!().retries], [true, 1]);
});
