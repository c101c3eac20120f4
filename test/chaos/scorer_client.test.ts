import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { answers } from "../answers.ts";
import { commandLine } from "../../src/config/command_line.ts";
import { createScorerClient, type ScorerClientOptions } from "../../src/scorer/client.ts";
import { ScorerContractError, ScorerUnavailableError } from "../../src/scorer/errors.ts";
import { fakeClock } from "../unit/fake_clock.ts";

type Behaviour = (response: ServerResponse, request: IncomingMessage) => void;

const answer =
  (status: number, body: string, headers: Record<string, string> = {}): Behaviour => (response) => {
    response.writeHead(status, headers).end(body);
  };
const good = answer(200, '{"rewards": [0.5], "costs": [-1]}');
const dropConnection: Behaviour = (response) => response.socket?.destroy();
const dropMidBody: Behaviour = (response) => {
  response.writeHead(200, { "content-length": "1000" });
  response.write('{"rewards": [0.5], "co', () => response.socket?.destroy());
};
const silence: Behaviour = () => {};
const stall: Behaviour = (response) => {
  response.writeHead(200).write('{"rewards": [0.5], ');
};

/**
 * A healthy server whose n-th POST gets the n-th behaviour, the last one for ever, and a client of it that
 * waits in no time and writes down how long it would have waited.
 */
async function startHostile(
  t: TestContext,
  behaviours: Behaviour[],
  options: Partial<ScorerClientOptions> = {},
) {
  let posts = 0;
  const server = createServer((request, response) => {
    if (request.method === "GET") {
      return answer(200, '{"status": "healthy", "device": "fake"}')(response, request);
    }
    const behaviour = behaviours[Math.min(posts++, behaviours.length - 1)];
    request.resume().on("end", () => behaviour(response, request));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const clock = fakeClock();
  const client = createScorerClient({
    url,
    retryMaxMs: 3000,
    timeoutMs: 2000,
    random: () => 0.5,
    clock,
    ...options,
  });
  return { url, client, delays: clock.sleptMs, posts: () => posts };
}

describe("faults that pass", () => {
  const passing: [string, Behaviour][] = [
    ["a connection dropped in mid-body", dropMidBody],
    ["408", answer(408, "")],
    ["425", answer(425, "")],
    ["429", answer(429, '{"detail": "busy"}')],
    ["500", answer(500, '{"detail": "CUDA out of memory"}')],
    ["502 with a proxy's page", answer(502, "<html>Bad gateway</html>")],
    ["503", answer(503, "")],
    ["504", answer(504, "")],
  ];
  for (const [name, behaviour] of passing) {
    it(`${name}, twice: two retries with growing jittered delays, then the true scores`, async (t) => {
      const { client, delays } = await startHostile(t, [behaviour, behaviour, good]);
      assert.deepEqual(await client.score(answers(["a"], ["b"])), { rewards: [0.5], costs: [-1] });
      assert.deepEqual(delays, [250, 500]);
    });
  }

  it("a connection dropped twice before any answer: three requests, then the true scores", async (t) => {
    const { client, delays, posts } = await startHostile(t, [dropConnection, dropConnection, good]);
    assert.deepEqual(await client.score(answers(["a"], ["b"])), { rewards: [0.5], costs: [-1] });
    assert.equal(posts(), 3);
    // Deno's fetch itself repeats a request that a reused connection lost.
    assert.ok(delays.length === 2 || delays.length === 1, `${delays.length} delays`);
  });

  it("a server that never answers, or never ends its answer, is given up after timeoutMs", async (t) => {
    const { client, delays } = await startHostile(t, [silence, stall, good], { timeoutMs: 400 });
    assert.deepEqual(await client.score(answers(["a"], ["b"])), { rewards: [0.5], costs: [-1] });
    assert.equal(delays.length, 2);
  });

  it("Retry-After is honoured, beyond the cap of our own delays too", async (t) => {
    const after = (seconds: string) => answer(503, "", { "retry-after": seconds });
    const { client, delays } = await startHostile(t, [after("2"), after("120"), good], {
      maxDelayMs: 5000,
      retryMaxMs: 600_000,
    });
    await client.score(answers(["a"], ["b"]));
    assert.deepEqual(delays, [2000, 120_000]);
  });

  it("a Retry-After of more than what is left ends the call at once, which says so", async (t) => {
    const after = (seconds: string) => answer(503, "", { "retry-after": seconds });
    const { client, delays } = await startHostile(t, [after("2"), after("86400"), good], {
      retryMaxMs: 600_000,
    });
    await assert.rejects(client.score(answers(["a"], ["b"])), (error: Error) => {
      assert.equal(error.name, "ScorerUnavailableError");
      assert.match(error.message, /it asks to be left alone for 86400 s, and 598 s of scorer_retry_max_s/);
      return true;
    });
    assert.deepEqual(delays, [2000]);
  });

  it("only the failed batch is sent again", async (t) => {
    const { client, posts } = await startHostile(t, [good, answer(503, ""), good], { batchSize: 1 });
    const scores = await client.score(answers(["a", "b", "c"], ["", "", ""]));
    assert.deepEqual(scores, { rewards: [0.5, 0.5, 0.5], costs: [-1, -1, -1] });
    assert.equal(posts(), 4);
  });
});

describe("a scorer that stays away", () => {
  it("ends when its budget is spent, with the documented line, what was tried, the remedy", async (t) => {
    const busy = answer(503, '{"detail": "loading models"}');
    const { client, url, posts, delays } = await startHostile(t, [busy]);
    await assert.rejects(client.score(answers(["a"], ["b"])), (error) => {
      assert.ok(error instanceof ScorerUnavailableError, String(error));
      assert.equal(error.attempts, 5);
      assert.deepEqual(error.message.split("\n"), [
        `❌ ERROR: Scorer API at ${url} is not responding`,
        "  tried: POST /score_batch, 5 attempts in 3 s; last error: 503: loading models",
        `  remedy: try \`curl ${url}/health\`, start a scorer with \`${
          commandLine(process.env, "scorer")
        }\`, correct scorer_url, or raise scorer_retry_max_s`,
      ]);
      return true;
    });
    assert.equal(posts(), 5);
    // Half of 500, 1000, 2000, 4000 ms: the last cut to what is left.
    assert.deepEqual(delays, [250, 500, 1000, 1250]);
  });

  it("a refused connection is tried again by the health check, before any completion is sent", async (t) => {
    const { url } = await startHostile(t, [good]);
    const port = await unusedPort();
    let retries = 0;
    const client = createScorerClient({
      url: url.replace(/\d+$/, String(port)),
      retryMaxMs: 1000,
      random: () => 0.5,
      clock: fakeClock(),
      onRetry: () => retries++,
    });
    await assert.rejects(client.score(answers(["a"], ["b"])), (error) => {
      assert.ok(error instanceof ScorerUnavailableError, String(error));
      assert.match(error.message, /tried: GET \/health, 4 attempts in 1 s; last error: .*refused/i);
      return true;
    });
    assert.equal(retries, 3);
  });

  it("a host name that does not exist is not asked for again", async () => {
    const client = createScorerClient({
      url: "http://scorer.invalid:8000",
      onRetry: () => assert.fail("retried"),
    });
    await assert.rejects(client.checkHealth(), { name: "ScorerUnavailableError", attempts: 1 });
  });
});

describe("answers that are no scores", () => {
  const wrong: [string, Behaviour, RegExp][] = [
    ["an HTML page", answer(200, "<html>It works!</html>"), /not JSON: <html>It works!/],
    ["no body", answer(200, ""), /not JSON/],
    ["JSON null", answer(200, "null"), /scores are null/],
    ["a missing list", answer(200, '{"rewards": [1]}'), /"costs" is missing/],
    [
      "too few rewards",
      answer(200, '{"rewards": [], "costs": [1]}'),
      /"rewards" has 0 numbers; need one for each of 1/,
    ],
    ["too many costs", answer(200, '{"rewards": [1], "costs": [1, 2]}'), /"costs" has 2 numbers/],
    ["NaN in the style of Python", answer(200, '{"rewards": [NaN], "costs": [1]}'), /not JSON: .*NaN/],
    [
      "an overflow to Infinity",
      answer(200, '{"rewards": [1e999], "costs": [1]}'),
      /"rewards"\[0\] is Infinity/,
    ],
    ["null for a score", answer(200, '{"rewards": [1], "costs": [null]}'), /"costs"\[0\] is null/],
    ["a string for a score", answer(200, '{"rewards": ["1.5"], "costs": [1]}'), /"rewards"\[0\] is "1.5"/],
    ["nested lists", answer(200, '{"rewards": [[1]], "costs": [1]}'), /"rewards"\[0\] is \[1\]/],
    ["a huge body", answer(200, `{"rewards": [${"1,".repeat(3_000_000)}1]}`), /more than 4194304 bytes/],
    [
      "422 with FastAPI's list",
      answer(422, '{"detail": [{"msg": "field required"}]}'),
      /422: .*field required/,
    ],
    ["404", answer(404, "Not Found"), /answered 404: Not Found/],
    ["204", answer(204, ""), /answered 204: no explanation/],
  ];
  for (const [name, behaviour, message] of wrong) {
    it(`${name}: stops at once, with what came`, async (t) => {
      const { client, posts, delays } = await startHostile(t, [behaviour]);
      await assert.rejects(client.score(answers(["a"], ["b"])), (error) => {
        assert.ok(error instanceof ScorerContractError, String(error));
        assert.match(error.message, message);
        return true;
      });
      assert.equal(posts(), 1);
      assert.deepEqual(delays, []);
    });
  }

  it("a health answer of another service is not taken for a scorer's", async (t) => {
    const server = createServer((request, response) =>
      answer(200, '{"status": "starting"}')(response, request)
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    const client = createScorerClient({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
    await assert.rejects(
      client.checkHealth(),
      /GET \/health answered 200: health is {"status":"starting"}; need/,
    );
  });
});

describe("abort", () => {
  it("ends a request in progress with the caller's reason, and nothing is retried", async (t) => {
    const controller = new AbortController();
    const { client, delays } = await startHostile(t, [
      () => controller.abort(new Error("stop requested")),
    ]);
    const scores = client.score(answers(["a"], ["b"]), { signal: controller.signal });
    await assert.rejects(scores, { message: "stop requested" });
    assert.deepEqual(delays, []);
  });
});

/** A port that was free a moment ago. */
async function unusedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
