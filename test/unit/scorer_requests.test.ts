/** What the scorer's client asks, how long it waits for it, and what it leaves behind. */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { answers } from "../answers.ts";
import { createScorerClient } from "../../src/scorer/client.ts";
import { sleep } from "../../src/scorer/retry.ts";
import { json, replaceFetch, scoring } from "./fake_scorer.ts";

const url = "http://scorer.test:8000";

describe("a run's requests", () => {
  it("ask for the scorer's health once, before the first batch", async (t) => {
    const { asked } = replaceFetch(t, scoring);
    const client = createScorerClient({ url });
    for (let batch = 0; batch < 3; batch++) await client.score(answers(["a"], ["b"]));
    assert.deepEqual(asked, ["/health", "/score_batch", "/score_batch", "/score_batch"]);
  });

  it("ask for no health after a check that passed", async (t) => {
    const { asked } = replaceFetch(t, scoring);
    const client = createScorerClient({ url });
    await client.checkHealth();
    await client.score(answers(["a"], ["b"]));
    assert.deepEqual(asked, ["/health", "/score_batch"]);
  });

  it("wait for scores as long as timeoutMs says, for the health half a minute at most", async (t) => {
    const { waitsMs } = replaceFetch(t, scoring);
    await createScorerClient({ url, timeoutMs: 300_000 }).score(answers(["a"], ["b"]));
    await createScorerClient({ url, timeoutMs: 2000 }).score(answers(["a"], ["b"]));
    assert.deepEqual(waitsMs, [30_000, 300_000, 2000, 2000]);
  });

  it("wait five minutes for scores where no time is given", async (t) => {
    const { waitsMs } = replaceFetch(t, scoring);
    await createScorerClient({ url }).score(answers(["a"], ["b"]));
    assert.equal(waitsMs[1], 300_000);
  });

  it("hold 32 completions where no number is given", async (t) => {
    const sizes: number[] = [];
    replaceFetch(t, scoring);
    const { fetch } = globalThis;
    globalThis.fetch = async (input, init) => {
      if (!init?.body) return await fetch(input, init);
      const { prompts } = JSON.parse(String(init.body)) as { prompts: string[] };
      sizes.push(prompts.length);
      return json({ rewards: prompts.map(() => 0), costs: prompts.map(() => 0) });
    };
    const texts = Array.from({ length: 33 }, () => "a");
    await createScorerClient({ url }).score(answers(texts, texts));
    assert.deepEqual(sizes, [32, 1]);
  });

  it("say that they are JSON, as services of other frameworks demand", async (t) => {
    replaceFetch(t, scoring);
    const sent: [string | undefined, string | null][] = [];
    const { fetch } = globalThis;
    globalThis.fetch = async (input, init) => {
      sent.push([init?.method, new Headers(init?.headers).get("content-type")]);
      return await fetch(input, init);
    };
    await createScorerClient({ url }).score(answers(["a"], ["b"]));
    assert.deepEqual(sent, [["GET", null], ["POST", "application/json"]]);
  });
});

describe("a request's body", () => {
  const answer = {
    ...answers(["Why?"], ["So."])[0],
    messages: [{ role: "system", content: "Be brief." }, { role: "user", content: "Why?" }],
    columns: { label: 3, source: "a" },
  };
  const other = { ...answers(["What?"], ["This."])[0], columns: { label: 4 } };

  /** The body of a batch, as its bytes, where the service's health says this. */
  async function bodyWhere(t: TestContext, health: object): Promise<string> {
    const bodies: string[] = [];
    replaceFetch(t, (path) => json(path === "/health" ? health : { rewards: [1, 2], costs: [3, 4] }));
    const { fetch } = globalThis;
    globalThis.fetch = async (input, init) => {
      if (init?.body) bodies.push(String(init.body));
      return await fetch(input, init);
    };
    await createScorerClient({ url }).score([answer, other]);
    return bodies.join("\n");
  }

  it("is prompts and responses alone for a service that wants nothing else", async (t) => {
    const plain = '{"prompts":["Why?","What?"],"responses":["So.","This."]}';
    assert.equal(await bodyWhere(t, { status: "healthy", device: "old" }), plain);
    assert.equal(await bodyWhere(t, { status: "healthy", device: "x", wants: [] }), plain);
    assert.equal(await bodyWhere(t, { status: "healthy", device: "x", wants: ["tomorrow"] }), plain);
  });

  it("holds conversations and columns for a service that wants them", async (t) => {
    const health = { status: "healthy", device: "new", wants: ["columns", "messages"] };
    assert.deepEqual(JSON.parse(await bodyWhere(t, health)), {
      prompts: ["Why?", "What?"],
      responses: ["So.", "This."],
      messages: [answer.messages, other.messages],
      columns: { label: [3, 4], source: ["a", null] },
    });
  });
});

describe("an answer", () => {
  it("that is a page of another service is shown by its beginning alone", async (t) => {
    replaceFetch(t, () => new Response(`<html>\n  ${"no such host ".repeat(10_000)}`, { status: 404 }));
    await assert.rejects(createScorerClient({ url }).checkHealth(), (error: Error) => {
      assert.match(error.message, /answered 404: <html> no such host .*\.\.\.; no score was taken/);
      assert.ok(error.message.length < 500, `${error.message.length} characters`);
      return true;
    });
  });

  it("of a scorer that says that it is loading is not healthy", async (t) => {
    replaceFetch(t, () => json({ status: "loading", device: "fake" }));
    await assert.rejects(createScorerClient({ url }).checkHealth(), {
      name: "ScorerContractError",
      message: /health is {"status":"loading","device":"fake"}; need/,
    });
  });

  it("in another script is read whole, wherever its packets end", async (t) => {
    const detail = "モデルを読み込めません 👩‍🔬";
    const bytes = new TextEncoder().encode(JSON.stringify({ detail }));
    const inSingleBytes = () =>
      new ReadableStream<Uint8Array>({
        start(controller) {
          for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
          controller.close();
        },
      });
    replaceFetch(t, () => new Response(inSingleBytes(), { status: 400 }));
    await assert.rejects(createScorerClient({ url }).checkHealth(), (error: Error) => {
      assert.ok(error.message.includes(detail), error.message);
      return true;
    });
  });
});

describe("sleep()", () => {
  /** Whether a timer still runs that would keep the program alive. */
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

  it("that is aborted leaves no timer which would hold up the program's end", async () => {
    const before = timers();
    const controller = new AbortController();
    const waiting = sleep(3_600_000, controller.signal);
    assert.equal(timers(), before + 1);
    controller.abort(new Error("stopped"));
    await assert.rejects(waiting, { message: "stopped" });
    assert.equal(timers(), before);
  });

  it("that ends by itself leaves no listener on the run's signal", async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      listeners++;
      addEventListener.apply(signal, args);
    };
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners--;
      removeEventListener.apply(signal, args);
    };
    await sleep(1, signal);
    assert.equal(listeners, 0);
  });

  it("with a signal that is aborted already does not wait", async () => {
    const reason = new Error("stopped before");
    await assert.rejects(sleep(3_600_000, AbortSignal.abort(reason)), { message: "stopped before" });
  });
});
