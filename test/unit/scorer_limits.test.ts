/** What a scorer service lets in: who may ask, how much may wait, and what it tells of itself. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { assertHealth, type ScoreTexts } from "../../src/scorer/protocol.ts";
import { createScorerApp, type RefusedRequest, type ScorerAppOptions } from "../../src/scorer/server.ts";
import { assertGuarded, isLoopback } from "../../src/scorer/service/access.ts";
import { createAdmission } from "../../src/scorer/service/admission.ts";

const TOKEN = "a-token-of-this-test";
const scoreTexts: ScoreTexts = (texts) =>
  Promise.resolve({
    rewards: texts.map(() => 1),
    costs: texts.map(() => 2),
    truncated: texts.map(() => true),
  });
const appOf = (options: Partial<ScorerAppOptions> = {}) =>
  createScorerApp({ scoreTexts, device: "fake", ...options });
const texts = (...of: string[]) => ({ method: "POST", body: JSON.stringify({ texts: of }) });

describe("who may ask a scorer", () => {
  const sent = (authorization: string) => ({ headers: { authorization } });

  it("is told by its token; without one there is the status of /health, and no more", async () => {
    const app = appOf({ token: TOKEN });
    const of = async (path: string, init?: RequestInit) => await app.request(path, init);
    assert.deepEqual(await (await of("/health")).json(), { status: "healthy" });
    assert.throws(() => assertHealth({ status: "healthy" }), /tells those who send it: set SCORER_TOKEN/);
    const own = sent(`Bearer ${TOKEN}`);
    assert.deepEqual(await (await of("/health", own)).json(), { status: "healthy", device: "fake" });
    assert.equal((await of("/score_texts", { ...texts("a"), ...own })).status, 200);
    assert.equal((await of("/metrics", sent(`bearer  ${TOKEN}`))).status, 200);
    for (const path of ["/metrics", "/openapi.json"]) assert.equal((await of(path)).status, 401, path);
    for (const path of ["/score", "/score_batch", "/score_texts"]) {
      const { status, headers } = await of(path, texts("a"));
      assert.deepEqual([status, headers.get("www-authenticate")], [401, 'Bearer realm="scorer"'], path);
    }
  });

  it("is refused with another token, in whatever words, and the token is never told", async () => {
    const refused: RefusedRequest[] = [];
    const app = appOf({ token: TOKEN, onRefusal: (refusal) => refused.push(refusal) });
    const wrong = [
      `Bearer ${TOKEN}x`,
      `Bearer ${TOKEN.slice(1)}`,
      `Basic ${TOKEN}`,
      TOKEN,
      "Bearer",
      "",
      "Bearer é",
    ];
    for (const authorization of wrong) {
      for (const path of ["/health", "/metrics"]) {
        const response = await app.request(path, sent(authorization));
        assert.equal(response.status, 401, `${path} ${authorization}`);
        assert.match(
          response.headers.get("www-authenticate")!,
          /^Bearer realm="scorer", error="invalid_token"$/,
        );
        assert.ok(!(await response.text()).includes(TOKEN));
      }
    }
    assert.ok(!JSON.stringify(refused).includes(TOKEN));
  });

  it("is everybody on this machine's loopback, and elsewhere nobody but by a token or --insecure", () => {
    for (const host of ["127.0.0.1", "127.8.9.1", "::1", "localhost"]) {
      assert.ok(isLoopback(host), host);
      assertGuarded({ host });
    }
    for (const host of ["0.0.0.0", "::", "10.0.0.1", "gpu-1", "127.evil.example", "localhost.example", ""]) {
      assert.throws(
        () => assertGuarded({ host }),
        /RangeError: .*open to other machines.*SCORER_TOKEN or --token_file/,
      );
      assertGuarded({ host, token: TOKEN });
      assertGuarded({ host, insecure: true });
    }
  });
});

describe("how much may wait at a scorer", () => {
  it("is told in tokens: what is more is to come again later, and is scored then", async () => {
    let finish = () => {};
    const gate = new Promise<void>((resolve) => finish = resolve);
    const held: ScoreTexts = async (texts) => (await gate, await scoreTexts(texts));
    const app = appOf({ scoreTexts: held, maxQueueTokens: 20, maxLength: 12 });
    const first = app.request("/score_texts", texts("a".repeat(1000)));
    const second = app.request("/score_texts", texts("bbbb"));
    await new Promise((resolve) => setTimeout(resolve, 5));
    const third = await app.request("/score_texts", texts("c"));
    assert.equal(third.status, 429);
    assert.match(third.headers.get("retry-after")!, /^[1-9]\d*$/);
    assert.match((await third.json()).detail, /Too much waits: 18 tokens and 3 more are over 20/);
    assert.match(await (await app.request("/metrics")).text(), /^scorer_queue_tokens 18$/m);
    finish();
    assert.deepEqual([(await first).status, (await second).status], [200, 200]);
    assert.equal((await app.request("/score_texts", texts("c"))).status, 200);
    assert.match(await (await app.request("/metrics")).text(), /^scorer_queue_tokens 0$/m);
  });

  it("is told in bytes too, from a request's first on", async () => {
    let finish = () => {};
    const gate = new Promise<void>((resolve) => finish = resolve);
    const held: ScoreTexts = async (texts) => (await gate, await scoreTexts(texts));
    const app = appOf({ scoreTexts: held, maxBodyBytes: 100 });
    const full = Array.from({ length: 4 }, () => app.request("/score_texts", texts("a".repeat(85))));
    await new Promise((resolve) => setTimeout(resolve, 5));
    const more = await app.request("/score_texts", texts("b".repeat(50)));
    assert.deepEqual([more.status, /bytes/.test((await more.json()).detail)], [429, true]);
    finish();
    for (const { status } of await Promise.all(full)) assert.equal(status, 200);
    assert.equal((await app.request("/score_texts", texts("b".repeat(50)))).status, 200);
  });

  it("lets one request in alone, however large, and asks to wait as long as half of what waits takes", () => {
    let nowMs = 0;
    const { admit, waiting } = createAdmission({ queueTokens: 100, queueBytes: 1 }, () => nowMs);
    const large = admit("tokens", 1000);
    const refusal = () => {
      try {
        admit("tokens", 1)();
        return undefined;
      } catch (error) {
        return (error as { headers: Record<string, string> }).headers["retry-after"];
      }
    };
    assert.equal(refusal(), "1");
    large();
    large();
    assert.equal(waiting("tokens"), 0, "counted once");
    const [first, second] = [admit("tokens", 50), admit("tokens", 50)];
    assert.ok(second);
    nowMs = 20_000;
    first();
    const third = admit("tokens", 50);
    assert.ok(third);
    assert.equal(refusal(), "20", "50 tokens took 20 s");
    nowMs = 1_000_000;
    assert.equal(refusal(), "60");
  });
});

describe("what a scorer tells of itself", () => {
  it("is OpenAPI that names every route with the methods that it takes, and refusals with their shape", async () => {
    const app = appOf({ token: TOKEN });
    const own = { headers: { authorization: `Bearer ${TOKEN}` } };
    const document = await (await app.request("/openapi.json", own)).json();
    assert.match(document.openapi, /^3\.1\.\d+$/);
    assert.deepEqual(document.security, [{ token: [] }]);
    for (const [path, methods] of Object.entries<Record<string, unknown>>(document.paths)) {
      const { headers } = await app.request(path, { method: "DELETE" });
      const taken = headers.get("allow")!.toLowerCase().split(", ").filter((method) => method !== "head");
      assert.deepEqual(Object.keys(methods), taken, path);
    }
    const { post } = document.paths["/score_batch"];
    const { schema } = post.requestBody.content["application/json"];
    assert.deepEqual(schema.required, ["prompts", "responses"]);
    assert.deepEqual(post.responses[200].content["application/json"].schema.required, ["rewards", "costs"]);
    assert.deepEqual(post.responses[429].content["application/json"].schema.required, ["detail"]);
    const open = await (await appOf().request("/openapi.json")).json();
    assert.equal("security" in open, false);
  });

  it("is counters by route and status as Prometheus reads them, of paths that there are alone", async () => {
    const app = appOf();
    await app.request("/score_texts", texts("a", "b"));
    await app.request("/score_texts", { method: "POST", body: "{" });
    await app.request('/a"b\n', { method: "POST" });
    const response = await app.request("/metrics");
    assert.match(response.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
    const text = await response.text();
    for (
      const line of [
        'scorer_requests_total{route="/score_texts",status="200"} 1',
        'scorer_requests_total{route="/score_texts",status="400"} 1',
        'scorer_requests_total{route="other",status="404"} 1',
        'scorer_request_seconds_count{route="/score_texts"} 2',
        'scorer_request_seconds_bucket{route="/score_texts",le="+Inf"} 2',
        "scorer_cut_conversations_total 2",
      ]
    ) assert.ok(text.split("\n").includes(line), `${line}\n${text}`);
    for (const line of text.trimEnd().split("\n")) {
      assert.match(line, /^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z]+="[^"\\]*",?)+\})? [-+0-9.eInf]+)$/);
    }
  });

  it("while it ends is 503 with the time to ask again, but for what was asked before", async () => {
    let finish = () => {};
    const gate = new Promise<void>((resolve) => finish = resolve);
    const app = appOf({ scoreTexts: async (texts) => (await gate, await scoreTexts(texts)) });
    const before = app.request("/score_texts", texts("a"));
    await new Promise((resolve) => setTimeout(resolve, 5));
    let isDrained = false;
    const drained = app.drain().then(() => isDrained = true);
    for (const [path, init] of [["/score_texts", texts("b")], ["/health", undefined]] as const) {
      const after = await app.request(path, init);
      assert.deepEqual([after.status, after.headers.get("retry-after")], [503, "5"], path);
    }
    assert.equal(isDrained, false);
    finish();
    assert.equal((await before).status, 200);
    await drained;
  });
});
