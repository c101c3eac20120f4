import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatConversation, formatPrompt } from "../../src/rl/conversation.ts";
import { type Scores, type ScoreTexts, UnreadableTextError } from "../../src/scorer/protocol.ts";
import { createScorerApp, type ScorerAppOptions } from "../../src/scorer/server.ts";

/** Reward = length, cost = code of the last character: each text has its own, so order and content show. */
const scoreTexts: ScoreTexts = (texts) =>
  Promise.resolve({
    rewards: texts.map((text) => text.length),
    costs: texts.map((text) => text.codePointAt(text.length - 1) ?? -1),
  });

/** Posts a text or a JSON value to an app that has no socket. */
async function post(path: string, request: unknown, options: Partial<ScorerAppOptions> = {}) {
  const app = createScorerApp({ scoreTexts, device: "fake", ...options });
  const text = typeof request === "string" ? request : JSON.stringify(request);
  const response = await app.request(path, { method: "POST", body: text });
  const body = await response.json() as Partial<Scores> & { detail?: string };
  return { status: response.status, body };
}

/** A score model that keeps the texts of each call. */
function recorder() {
  const calls: string[][] = [];
  const record: ScoreTexts = (texts) => {
    calls.push(texts);
    return scoreTexts(texts);
  };
  return { calls, scoreTexts: record };
}

describe("scorer endpoints", () => {
  it("GET /health names the device", async () => {
    const response = await createScorerApp({ scoreTexts, device: "llvmpipe" }).request("/health");
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), { status: "healthy", device: "llvmpipe" });
  });

  it("/score, /score_batch and /score_texts answer the same numbers for the same conversations", async () => {
    const prompts = ["Hi", "How are you?", "Bye"];
    const responses = [" Hello.", " Fine!", " Bye?"];
    const texts = prompts.map((prompt, i) => formatConversation(prompt, responses[i]));
    const one = await post("/score", { prompts, responses });
    assert.equal(one.status, 200);
    assert.deepEqual(one.body, await scoreTexts(texts));
    assert.deepEqual((await post("/score_batch", { prompts, responses })).body, one.body);
    assert.deepEqual((await post("/score_texts", { texts })).body, one.body);
  });

  it("says which conversations were cut where the models do, and tells whoever watches", async () => {
    const cut: number[] = [];
    const models: ScoreTexts = async (texts) => ({
      ...await scoreTexts(texts),
      truncated: [true, false, true],
    });
    const options = { scoreTexts: models, onCut: (conversations: number) => cut.push(conversations) };
    const { body } = await post("/score_texts", { texts: ["a", "b", "c"] }, options);
    assert.deepEqual(body.truncated, [true, false, true]);
    assert.deepEqual(cut, [2]);
    const wrong = () => Promise.resolve({ rewards: [1], costs: [1], truncated: [] });
    assert.equal((await post("/score_texts", { texts: ["a"] }, { scoreTexts: wrong })).status, 500);
  });

  it("empty lists get empty lists, without a call of the models", async () => {
    const { calls, scoreTexts } = recorder();
    for (const path of ["/score", "/score_batch"]) {
      const answer = await post(path, { prompts: [], responses: [] }, { scoreTexts });
      assert.deepEqual(answer, { status: 200, body: { rewards: [], costs: [] } });
    }
    const answer = await post("/score_texts", { texts: [] }, { scoreTexts });
    assert.deepEqual(answer, { status: 200, body: { rewards: [], costs: [] } });
    assert.equal(calls.length, 0);
  });

  it("a prompt that holds the template already is scored as the bare prompt is", async () => {
    const { calls, scoreTexts } = recorder();
    await post("/score_batch", { prompts: ["Hi", formatPrompt("Hi")], responses: ["Yo", "Yo"] }, {
      scoreTexts,
    });
    assert.deepEqual(calls, [Array(2).fill("BEGINNING OF CONVERSATION: USER: Hi ASSISTANT:Yo")]);
  });

  it("USER: and ASSISTANT: inside a prompt, unicode and whole texts reach the models unchanged", async () => {
    const { calls, scoreTexts } = recorder();
    const prompts = ["Say ASSISTANT: yes USER: no", "héllo 👩‍🔬 日本\u0000\n"];
    const responses = ["ASSISTANT: USER:", "🙂"];
    await post("/score_batch", { prompts, responses }, { scoreTexts });
    await post("/score_texts", { texts: ["  raw USER: text "] }, { scoreTexts });
    assert.deepEqual(calls, [
      [
        "BEGINNING OF CONVERSATION: USER: Say ASSISTANT: yes USER: no ASSISTANT:ASSISTANT: USER:",
        "BEGINNING OF CONVERSATION: USER: héllo 👩‍🔬 日本\u0000\n ASSISTANT:🙂",
      ],
      ["  raw USER: text "],
    ]);
  });
});

describe("models that want conversations", () => {
  /** The conversations of each call. */
  function asked(): { conversations: unknown[]; scoreTexts: ScoreTexts } {
    const conversations: unknown[] = [];
    return {
      conversations,
      scoreTexts: (texts, given) => (conversations.push(given), scoreTexts(texts)),
    };
  }
  const system = { role: "system", content: "Be brief." };
  const user = { role: "user", content: "Hi" };
  const said = { role: "assistant", content: " Hello." };

  it("say so in their health; others do not speak of it", async () => {
    const health = async (wants?: readonly "messages"[]) =>
      await (await createScorerApp({ scoreTexts, device: "d", wants }).request("/health")).json();
    assert.deepEqual(await health(["messages"]), { status: "healthy", device: "d", wants: ["messages"] });
    assert.deepEqual(await health([]), { status: "healthy", device: "d" });
  });

  it("get the messages with the answer behind them", async () => {
    for (const path of ["/score", "/score_batch"]) {
      const own = asked();
      const body = { prompts: ["Hi"], responses: [" Hello."], messages: [[system, user]] };
      assert.equal((await post(path, body, own)).status, 200);
      assert.deepEqual(own.conversations, [[[system, user, said]]]);
    }
  });

  it("get a prompt as the user's turn where the client sends no messages, and nothing of whole texts", async () => {
    const own = asked();
    await post(
      "/score_batch",
      { prompts: ["Hi", formatPrompt("Hi")], responses: [" Hello.", " Hello."] },
      own,
    );
    await post("/score_texts", { texts: ["Hi Hello."] }, own);
    assert.deepEqual(own.conversations, [[[user, said], [user, said]], undefined]);
  });

  it("refuse as many lists of messages as there are no prompts, and messages that are none", async () => {
    const body = { prompts: ["a", "b"], responses: ["1", "2"], messages: [[user]] };
    const few = await post("/score_batch", body);
    assert.deepEqual([few.status, few.body.detail], [
      400,
      "2 prompts and 1 lists of messages: need one list per prompt",
    ]);
    const wrong = await post("/score_batch", { ...body, messages: [[user], [{ role: "user" }]] });
    assert.equal(wrong.status, 422);
    assert.match(wrong.body.detail ?? "", /^messages\.1\.0\.content: /);
  });
});

describe("scorer refusals", () => {
  it("lists of different lengths are 400 with both lengths", async () => {
    for (const path of ["/score", "/score_batch"]) {
      const { status, body } = await post(path, { prompts: ["a", "b"], responses: ["1"] });
      assert.equal(status, 400);
      assert.match(body.detail ?? "", /2 prompts and 1 responses/);
    }
  });

  it("a body that is not JSON, is empty or is not UTF-8 is 400", async () => {
    for (const text of ["{", "", "<html>"]) assert.equal((await post("/score", text)).status, 400);
    const app = createScorerApp({ scoreTexts, device: "fake" });
    const body = new Uint8Array([0x22, 0xff, 0x22]);
    assert.equal((await app.request("/score", { method: "POST", body })).status, 400);
  });

  it("JSON of another shape is 422 and says where", async () => {
    const cases: [string, unknown, RegExp][] = [
      ["/score", { prompts: ["a", 1], responses: ["b", "c"] }, /^prompts\.1: /],
      ["/score_batch", { prompts: "a", responses: ["b"] }, /^prompts: /],
      ["/score_batch", { prompts: ["a"] }, /^responses: /],
      ["/score_texts", { texts: [null] }, /^texts\.0: /],
      ["/score_texts", [], /expected object/],
    ];
    for (const [path, request, detail] of cases) {
      const { status, body } = await post(path, request);
      assert.equal(status, 422);
      assert.match(body.detail ?? "", detail);
    }
  });

  it("too many texts or bytes are 413 with the limit", async () => {
    const items = await post("/score_texts", { texts: ["a", "b", "c"] }, { maxItems: 2 });
    assert.equal(items.status, 413);
    assert.match(items.body.detail ?? "", /3 texts .* at most 2/);
    assert.equal((await post("/score_texts", { texts: ["a", "b"] }, { maxItems: 2 })).status, 200);
    const bytes = await post("/score_texts", { texts: ["a".repeat(100)] }, { maxBodyBytes: 100 });
    assert.equal(bytes.status, 413);
    assert.match(bytes.body.detail ?? "", /100 bytes/);
  });

  it("an unknown path is 404, a method that a path does not take is 405 with those that it does", async () => {
    const { status, body } = await post("/scores", {});
    assert.equal(status, 404);
    assert.match(body.detail ?? "", /No \/scores here/);
    const app = createScorerApp({ scoreTexts, device: "fake" });
    for (const method of ["PUT", "OPTIONS", "DELETE", "PATCH", "GET"]) {
      const response = await app.request("/score_batch", { method });
      assert.deepEqual([response.status, response.headers.get("allow")], [405, "POST"], method);
    }
    const health = await app.request("/health", { method: "POST" });
    assert.deepEqual([health.status, health.headers.get("allow")], [405, "GET, HEAD"]);
    assert.equal((await app.request("/health", { method: "HEAD" })).status, 200);
  });

  it("a text that no model can read is 422, which is no failure of the service's", async () => {
    const unreadable = () => Promise.reject(new UnreadableTextError("a conversation takes 600 tokens"));
    const { status, body } = await post("/score_texts", { texts: ["a"] }, { scoreTexts: unreadable });
    assert.deepEqual([status, body.detail], [422, "a conversation takes 600 tokens"]);
  });
});

describe("scorer failures", () => {
  it("a model that fails is 500 with its message, and the next request is served", async () => {
    let calls = 0;
    const errors: string[] = [];
    const app = createScorerApp({
      device: "fake",
      scoreTexts: (texts) => ++calls === 1 ? Promise.reject(new Error("device lost")) : scoreTexts(texts),
      onRefusal: ({ route, status, detail }) => errors.push(`${route} ${status} ${detail}`),
    });
    const send = () => app.request("/score_texts", { method: "POST", body: '{"texts": ["a"]}' });
    const failed = await send();
    assert.equal(failed.status, 500);
    assert.deepEqual(await failed.json(), { detail: "Scoring failed: device lost" });
    assert.deepEqual(errors, ["/score_texts 500 Scoring failed: device lost"]);
    assert.equal((await send()).status, 200);
  });

  it("a model's NaN, Infinity or missing score is 500, never null or a number", async () => {
    const wrong = [
      { rewards: [1, NaN], costs: [1, 1] },
      { rewards: [1, 1], costs: [Infinity, 1] },
      { rewards: [1], costs: [1, 1] },
      { rewards: [1, , 1].slice(0, 2) as number[], costs: [1, 1] },
    ];
    for (const scores of wrong) {
      const options = { scoreTexts: () => Promise.resolve(scores) };
      const { status, body } = await post("/score_texts", { texts: ["a", "b"] }, options);
      assert.equal(status, 500);
      assert.deepEqual(Object.keys(body), ["detail"]);
      assert.match(body.detail ?? "", /"(rewards|costs)"/);
    }
  });

  it("a request whose client has gone is not scored", async () => {
    const { calls, scoreTexts } = recorder();
    const app = createScorerApp({ scoreTexts, device: "fake" });
    const client = new AbortController();
    const answer = app.request("/score_texts", {
      method: "POST",
      body: '{"texts": ["a"]}',
      signal: client.signal,
    });
    client.abort();
    assert.notEqual((await answer).status, 200);
    assert.equal(calls.length, 0);
  });
});
