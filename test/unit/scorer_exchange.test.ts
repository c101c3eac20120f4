/** One exchange with a scorer: what is passing, what lasts, what is refused, and how it is told. */
import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { test, type TestContext } from "node:test";
import { Agent, getGlobalDispatcher, setGlobalDispatcher } from "undici";
import { saysNoScorer, ScorerContractError, ScorerUnavailableError } from "../../src/scorer/errors.ts";
import { describe, exchangeJson } from "../../src/scorer/exchange.ts";
import { excerpt } from "../../src/scorer/messages.ts";
import { assertHealth, assertScores } from "../../src/scorer/protocol.ts";
import { ConnectionFault, parseRetryAfterMs, sleep } from "../../src/scorer/retry.ts";
import { serveScorer } from "../../src/scorer/serve.ts";
import { createScorerApp } from "../../src/scorer/server.ts";

async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** What an exchange makes of an answer. */
async function exchanged(t: TestContext, status: number, body: string) {
  const url = await serve(t, (_, response) => void response.writeHead(status).end(body));
  return await exchangeJson({ url, path: "/x", timeoutMs: 60_000 });
}

test("a request without a body is a GET, one with a body a POST of JSON", async (t) => {
  const seen: unknown[] = [];
  const url = await serve(t, async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    seen.push([request.method, request.url, request.headers["content-type"], text]);
    response.end("1");
  });
  assert.deepEqual(await exchangeJson({ url, path: "/a", timeoutMs: 60_000 }), { status: 200, json: 1 });
  await exchangeJson({ url, path: "/b", body: { c: [1] }, timeoutMs: 60_000 });
  assert.deepEqual(seen, [["GET", "/a", undefined, ""], ["POST", "/b", "application/json", '{"c":[1]}']]);
  assert.equal(describe({ path: "/a" }), "GET /a");
  assert.equal(describe({ path: "/b", body: null }), "POST /b");
});

test("408, 425, 429 and every 5xx pass; every other status but 200 is final", async (t) => {
  for (const status of [408, 425, 429, 500, 501, 502, 503, 504, 505, 507, 520, 599]) {
    await assert.rejects(exchanged(t, status, "later"), (error) => {
      assert.ok(error instanceof ConnectionFault);
      const { message, lasting, retryAfterMs, isBusy, request } = error;
      assert.deepEqual([message, lasting, retryAfterMs], [`${status}: later`, false, 0]);
      assert.deepEqual([isBusy, request], [status < 500, "GET /x"]);
      return true;
    });
  }
  for (const status of [201, 202, 206, 400, 401, 403, 404, 409, 413, 422, 451]) {
    await assert.rejects(exchanged(t, status, "no"), (error) => {
      assert.ok(error instanceof ScorerContractError);
      assert.equal(error.status, status);
      return true;
    });
  }
});

test("a token goes along where there is one, and a scorer that repeats it does not have it shown", async (t) => {
  const seen: unknown[] = [];
  const url = await serve(t, ({ headers }, response) => {
    seen.push(headers.authorization);
    response.writeHead(headers.authorization ? 403 : 401).end(`no: ${headers.authorization}`);
  });
  const refused = (token?: string) =>
    exchangeJson({ url, path: "/x", timeoutMs: 60_000, token }).catch((error: Error) => error.message);
  assert.match(
    String(await refused()),
    /answered 401: .*it asks for a token: set SCORER_TOKEN in the environm/,
  );
  const message = String(await refused("s3cret"));
  assert.match(message, /answered 403: no: Bearer \*\*\*; .*the token that was sent is not this scorer's/);
  assert.ok(!message.includes("s3cret"));
  assert.deepEqual(seen, [undefined, "Bearer s3cret"]);
});

test("a name that does not resolve lasts, unless something was heard from there before", async () => {
  const fault = (isFirst: boolean) =>
    exchangeJson({ url: "http://scorer.invalid:8000", path: "/", timeoutMs: 60_000, isFirst })
      .catch((error: unknown) => (error as ConnectionFault).lasting);
  assert.deepEqual([await fault(true), await fault(false)], [true, false]);
});

test("an answer of exactly 4 MiB is read, one byte more is not", async (t) => {
  const limit = 4 * 1024 * 1024;
  assert.deepEqual((await exchanged(t, 200, "1".padEnd(limit))).json, 1);
  await assert.rejects(exchanged(t, 200, "1".padEnd(limit + 1)), /more than 4194304 bytes/);
});

test("text whose characters are cut between two pieces arrives whole", async (t) => {
  const bytes = new TextEncoder().encode('"é😀"');
  const url = await serve(t, async (_, response) => {
    for (const byte of bytes) {
      response.write(Uint8Array.of(byte));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    response.end();
  });
  assert.equal((await exchangeJson({ url, path: "/", timeoutMs: 60_000 })).json, "é😀");
});

test("a refusal is told by its detail, else by its beginning", async (t) => {
  const told = async (body: string) => {
    const error = await exchanged(t, 400, body).catch((error) => error as Error);
    return /answered 400: (.*); no score was taken/.exec((error as Error).message)?.[1];
  };
  assert.equal(await told('{"detail": "too many"}'), "too many");
  assert.equal(await told('{"detail": [{"msg": "a"}]}'), '[{"msg":"a"}]');
  assert.equal(await told('{"detail": null}'), "null");
  assert.equal(await told('{"error": "b", "error_type": "validation"}'), "b");
  assert.equal(await told('{"error": {"message": "c", "code": 400}}'), "c");
  assert.equal(await told('{"message": "d"}'), "d");
  assert.equal(await told('{"reason": "e"}'), '{"reason": "e"}');
  assert.equal(await told("null"), "null");
  assert.equal(await told(""), "no explanation");
  assert.equal(await told(`{"detail": "${"d".repeat(501)}"}`), `${"d".repeat(500)}...`);
  assert.equal(await told("<p>".repeat(100)), `${"<p>".repeat(100).slice(0, 200)}...`);
});

test("a redirect is not followed; the remedy is the address behind it", async (t) => {
  let requests = 0;
  const url = await serve(t, (request, response) => {
    requests++;
    const location = request.url === "/x" ? "http://other.test:9000/v2/x" : `${request.url}/`;
    response.writeHead(307, { location }).end();
  });
  const refused = (path: string) =>
    exchangeJson({ url, path, body: {}, timeoutMs: 60_000 }).catch((error) => (error as Error).message);
  assert.match(
    String(await refused("/x")),
    /POST \/x answered 307: a redirect to http:\/\/other\.test:9000\/v2\/x/,
  );
  assert.match(String(await refused("/x")), /set scorer_url to "http:\/\/other\.test:9000\/v2"$/);
  assert.match(String(await refused("/y")), /set scorer_url to a service that answers at that path itself/);
  assert.equal(requests, 3);
});

test("an answer is waited for as long as timeoutMs says, whatever the runtime's own limit", async (t) => {
  const before = getGlobalDispatcher();
  t.after(() => setGlobalDispatcher(before));
  // In the place of Node's own, of 300 s. (undici looks at its clock once a second.)
  setGlobalDispatcher(new Agent({ headersTimeout: 100, bodyTimeout: 100 }));
  const url = await serve(t, (_, response) => void setTimeout(() => response.end("1"), 2100));
  const isNode = process.versions.deno === undefined;
  if (isNode) await assert.rejects(fetch(url), TypeError, "the stand-in for Node's limit limits nothing");
  assert.deepEqual(await exchangeJson({ url, path: "/", timeoutMs: 60_000 }), { status: 200, json: 1 });
});

test("what answers at an address that has not yet been a scorer's is told to be something else", async (t) => {
  const page = await serve(t, (_, response) => void response.end("<html>Jupyter</html>"));
  const isFirst = true;
  const first = exchangeJson({ url: page, path: "/health", timeoutMs: 60_000, isFirst });
  await assert.rejects(
    first,
    /not JSON: <html>Jupyter<\/html>;.*something else answers there: set scorer_url/,
  );
  const later = exchangeJson({ url: page, path: "/health", timeoutMs: 60_000 });
  await assert.rejects(later, /not JSON.*look at the scorer's log/);
});

test("an abort before the request sends nothing, and has its own reason", async (t) => {
  let requests = 0;
  const url = await serve(t, () => void requests++);
  const signal = AbortSignal.abort(new Error("stopped"));
  await assert.rejects(exchangeJson({ url, path: "/", timeoutMs: 60_000, signal }), { message: "stopped" });
  assert.equal(requests, 0);
});

test("excerpt() is one line of at most so many characters", () => {
  assert.equal(excerpt(" a\n\t b "), "a b");
  assert.equal(excerpt("x".repeat(200)), "x".repeat(200));
  assert.equal(excerpt("x".repeat(201)), `${"x".repeat(200)}...`);
  assert.equal(excerpt("abcdef", 3), "abc...");
});

test("assertScores() and assertHealth() show what came in the place of what was needed", () => {
  const shows = (candidate: unknown, words: RegExp) => assert.throws(() => assertScores(candidate, 1), words);
  shows(undefined, /^TypeError: scores are missing; need/);
  shows(7, /scores are 7/);
  shows({ rewards: [1] }, /"costs" is missing; need a list of numbers/);
  shows({ rewards: "ab", costs: [1] }, /"rewards" is "ab"/);
  shows({ rewards: [NaN], costs: [1] }, /"rewards"\[0\] is NaN; need a finite number/);
  shows({ rewards: [1], costs: [undefined] }, /"costs"\[0\] is missing/);
  assert.deepEqual(assertScores({ rewards: [1], costs: [2], more: 3 }, 1), { rewards: [1], costs: [2] });
  assert.deepEqual(assertScores({ rewards: [], costs: [] }, 0), { rewards: [], costs: [] });
  assert.throws(() => assertHealth({ status: "healthy" }), /health is {"status":"healthy"}; need/);
  assert.throws(() => assertHealth(undefined), /health is missing/);
  assert.throws(() => assertHealth({ status: "loading", device: "cuda" }), /health is {"status":"loading"/);
});

test("parseRetryAfterMs() reads whole seconds with white space about them, and no fraction", () => {
  assert.equal(parseRetryAfterMs(" 12 ", 0), 12_000);
  assert.equal(parseRetryAfterMs("0", 0), 0);
  assert.equal(parseRetryAfterMs("1.5", Date.now()), 0);
  assert.equal(parseRetryAfterMs("3s", Date.now()), 0);
});

test("sleep() is over at once where the signal is aborted already, and leaves no listener behind", async () => {
  await assert.rejects(sleep(60_000, AbortSignal.abort(new Error("stopped"))), { message: "stopped" });
  const { signal } = new AbortController();
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => (listeners++, add(...args));
  signal.removeEventListener = (...args: Parameters<typeof remove>) => (listeners--, remove(...args));
  await sleep(1, signal);
  assert.equal(listeners, 0);
});

test("an aborted sleep stops its timer, which would keep the program alive", async (t) => {
  const { setTimeout, clearTimeout } = globalThis;
  t.after(() => Object.assign(globalThis, { setTimeout, clearTimeout }));
  const running = new Set<unknown>();
  Object.assign(globalThis, {
    setTimeout: (run: () => void, delayMs: number) => {
      const timer = setTimeout(run, delayMs);
      running.add(timer);
      return timer;
    },
    clearTimeout: (timer: Parameters<typeof clearTimeout>[0]) => {
      running.delete(timer);
      clearTimeout(timer);
    },
  });
  const controller = new AbortController();
  const slept = sleep(3_600_000, controller.signal);
  assert.equal(running.size, 1);
  controller.abort(new Error("stopped"));
  assert.equal(running.size, 0);
  await assert.rejects(slept, { message: "stopped" });
});

test("a scorer that stays away is told with one attempt or several, and for how long", () => {
  const of = (attempts: number, seconds: number) =>
    new ScorerUnavailableError("http://a", {
      request: "GET /health",
      attempts,
      seconds,
      cause: new Error("refused"),
    }).message;
  assert.match(of(1, 0), /tried: GET \/health, 1 attempt; last error: refused/);
  assert.match(of(2, 600), /2 attempts in 600 s;/);
  assert.ok(saysNoScorer(new Error(`Rank 1 has left the run: ${of(1, 0)}`)), "what the other ranks end with");
  assert.ok(!saysNoScorer(new ScorerContractError("http://a", "GET /health", 404, "not found")));
});

const scoreTexts = (texts: string[]) =>
  Promise.resolve({ rewards: texts.map(() => 1), costs: texts.map(() => 2) });

test("a service takes 256 texts a request and no more, and is not told of a client's mistakes", async () => {
  const app = createScorerApp({
    scoreTexts,
    device: "fake",
    onRefusal: ({ status }) => status < 500 || assert.fail("a mistake of the client's"),
  });
  const send = (texts: string[]) =>
    app.request("/score_texts", { method: "POST", body: JSON.stringify({ texts }) });
  assert.equal((await send(Array(256).fill("a"))).status, 200);
  assert.equal((await send(Array(257).fill("a"))).status, 413);
  const body = JSON.stringify({ prompts: Array(257).fill("a"), responses: Array(257).fill("b") });
  for (const path of ["/score", "/score_batch"]) {
    assert.equal((await app.request(path, { method: "POST", body })).status, 413);
  }
});

test("a body of exactly the limit is read, one byte more is not", async () => {
  const body = '{"texts": ["a"]}';
  const status = async (maxBodyBytes: number) => {
    const app = createScorerApp({ scoreTexts, device: "fake", maxBodyBytes });
    return (await app.request("/score_texts", { method: "POST", body })).status;
  };
  assert.deepEqual([await status(body.length), await status(body.length - 1)], [200, 413]);
});

test("a service names an address that others can use", async (t) => {
  const urlOf = async (hostname: string) => {
    const scorer = await serveScorer({ scoreTexts, device: "fake", hostname, insecure: true });
    t.after(() => scorer.close());
    return scorer.url.replace(/:\d+$/, "");
  };
  assert.equal(await urlOf("127.0.0.1"), "http://127.0.0.1");
  assert.ok(!/0\.0\.0\.0/.test(await urlOf("0.0.0.0")));
});

test("an answer in which a key stands twice is refused, one that stands deeper or as a value is not", async (t) => {
  const asked = (body: string) =>
    exchanged(t, 200, body).then(({ json }) => json, (error: Error) => error.message);
  assert.match(String(await asked('{"a": [1], "b": 2, "a": [3]}')), /"a" stands twice in \{"a": \[1\]/);
  assert.match(String(await asked('{"a\\"b": 1, "a\\u0022b" : 2}')), /stands twice/);
  for (
    const text of [
      '{"a": {"a": 1, "b": "a"}, "b": ["a", "a"]}',
      '[{"a": 1}, {"a": 2}]',
      '{"a": "\\"a\\":"}',
      "7",
    ]
  ) {
    assert.deepEqual(await asked(text), JSON.parse(text));
  }
});
