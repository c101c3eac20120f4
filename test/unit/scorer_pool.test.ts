/** Several scorers asked as one: who is asked, who takes over, and what is asked before one is trusted anew. */
import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { answers } from "../answers.ts";
import { createScorerClient, type ScorerClientOptions } from "../../src/scorer/client.ts";
import { outageLines } from "../../src/assembly/outage.ts";
import { fakeClock } from "./fake_clock.ts";
import { goodScores, type OwnServer, ownServer } from "./own_servers.ts";
import { withScratchFolder } from "./scratch_folder.ts";

const TEXTS = ["a", "bb", "ccc", "dddd", "eeeee", "ffffff"];

async function several(t: TestContext, count: number, options: Partial<ScorerClientOptions> = {}) {
  const servers = await Promise.all(Array.from({ length: count }, () => ownServer(t)));
  const clock = fakeClock();
  const client = createScorerClient({
    url: servers.map(({ url }) => url).join(","),
    batchSize: 1,
    random: () => 0.5,
    clock,
    ...options,
  });
  return { servers, client, clock };
}

const scored = ({ asked }: OwnServer) => asked.filter((path) => path !== "/health").length;

describe("several scorers", () => {
  it("share the batches, and scores are in order whichever answered first", async (t) => {
    const { servers, client } = await several(t, 2);
    const [slow, fast] = servers;
    await client.checkHealth();
    slow.manners = (request, response) => {
      const answer = () => {
        if (scored(fast) < 5) setTimeout(answer, 2);
        else response.end('{"rewards": [-1], "costs": [-1]}');
      };
      request.resume().on("end", answer);
    };
    const { rewards } = await client.score(answers(TEXTS, TEXTS));
    assert.equal(scored(slow), 1, "the busy one is not given more");
    assert.deepEqual(rewards, [-1, 2, 3, 4, 5, 6]);
  });

  it("one that fails is taken over by the others, at once, and asked for its health before it is used anew", async (t) => {
    const { servers: [first, second], client, clock } = await several(t, 2);
    await client.checkHealth();
    first.manners = (_, response) => void response.writeHead(500).end("broken");
    assert.deepEqual(await client.score(answers(TEXTS, TEXTS)), goodScores(TEXTS));
    assert.deepEqual([scored(first), scored(second)], [1, 6]);
    assert.deepEqual(clock.sleptMs, [], "nothing is waited for while another answers");
    assert.equal(client.takeStats().retries, 1);
    clock.passMs(60_000);
    first.manners = null;
    first.asked.length = 0;
    await client.score(answers(TEXTS, TEXTS));
    assert.deepEqual(first.asked.slice(0, 2), ["/health", "/score_batch"]);
  });

  it("scores that break the contract are an error that names the scorer, and no other is asked", async (t) => {
    const { servers: [first, second], client } = await several(t, 2);
    await client.checkHealth();
    first.manners = (_, response) => void response.end('{"rewards": [null], "costs": [1]}');
    await assert.rejects(client.score(answers(["a"], ["b"])), (error: Error) => {
      assert.equal(error.name, "ScorerContractError");
      assert.ok(error.message.includes(first.url) && !error.message.includes(second.url), error.message);
      return true;
    });
    assert.equal(scored(second), 0);
  });

  it("one that is away at the start is told, and joins once it is there", async (t) => {
    const absent: string[] = [];
    const { servers: [first, second], client, clock } = await several(t, 2, {
      onAbsent: ({ url }) => absent.push(url),
    });
    await second.stop();
    await client.checkHealth();
    assert.deepEqual(absent, [second.url]);
    await second.start();
    clock.passMs(60_000);
    assert.deepEqual(await client.score(answers(TEXTS, TEXTS)), goodScores(TEXTS));
    assert.ok(scored(second) > 0 && scored(first) > 0);
  });

  it("all away: the budget is shared, and the error names each", async (t) => {
    const { servers, client, clock } = await several(t, 3, { retryMaxMs: 20_000 });
    await client.checkHealth();
    for (const server of servers) await server.stop();
    await assert.rejects(client.score(answers(TEXTS, TEXTS)), (error: Error) => {
      assert.equal(error.name, "ScorerUnavailableError");
      for (const { url } of servers) assert.ok(error.message.includes(url), error.message);
      return true;
    });
    assert.ok(clock.nowMs() >= 20_000 && clock.nowMs() < 90_000, `${clock.nowMs()} ms`);
  });
});

describe("a scorer that comes up again", () => {
  it("and says that it loads gets nothing to score until it is well", async (t) => {
    const { servers: [server], client } = await several(t, 1);
    await client.checkHealth();
    let healths = 0;
    server.manners = (request, response) => {
      if (request.method === "GET" && ++healths > 2) server.manners = null;
      if (request.method === "POST") return void response.socket?.destroy();
      response.end(healths > 2 ? '{"status": "healthy", "device": "own"}' : '{"status": "loading"}');
    };
    server.asked.length = 0;
    assert.deepEqual(await client.score(answers(["a"], ["bb"])), goodScores(["bb"]));
    const posts = server.asked.lastIndexOf("/score_batch");
    assert.deepEqual(server.asked.slice(-4), ["/health", "/health", "/health", "/score_batch"]);
    assert.equal(posts, server.asked.length - 1);
  });

  it("elsewhere is found by the file that it writes its address to", () =>
    withScratchFolder(async (folder) => {
      const cleanups: (() => unknown)[] = [];
      const t = { after: (run: () => unknown) => void cleanups.push(run) };
      try {
        const [before, now] = [await ownServer(t), await ownServer(t)];
        const path = join(folder, "scorer.url");
        writeFileSync(path, `${before.url}\n`);
        const client = createScorerClient({ url: `file:${path}`, clock: fakeClock() });
        await client.checkHealth();
        await before.stop();
        const moved = { onRetry: () => writeFileSync(path, `${now.url}\n`) };
        const moving = createScorerClient({ url: `file:${path}`, clock: fakeClock(), ...moved });
        assert.deepEqual(await moving.score(answers(["a"], ["bb"])), goodScores(["bb"]));
        assert.equal(scored(now), 1);
      } finally {
        for (const run of cleanups) await run();
      }
    }));
});

describe("a token", () => {
  it("beside the address's file goes along, is read again when it is refused, and is not sent elsewhere", () =>
    withScratchFolder(async (folder) => {
      const cleanups: (() => unknown)[] = [];
      const t = { after: (run: () => unknown) => void cleanups.push(run) };
      try {
        const [guarded, open] = [await ownServer(t), await ownServer(t)];
        let wanted = "first";
        const seen: (string | undefined)[] = [];
        guarded.manners = (request, response) => {
          if (request.headers.authorization === `Bearer ${wanted}`) {
            return void response.end(
              request.method === "GET"
                ? '{"status": "healthy", "device": "own"}'
                : '{"rewards": [1], "costs": [2]}',
            );
          }
          response.writeHead(401).end(`{"detail": "no token"}`);
        };
        open.manners = (request, response) => {
          seen.push(request.headers.authorization);
          response.end('{"status": "healthy", "device": "own"}');
        };
        const path = join(folder, "scorer.url");
        writeFileSync(path, `${guarded.url}\n`);
        writeFileSync(`${path}.token`, "first\n", { mode: 0o600 });
        const notices: string[] = [];
        const client = createScorerClient({ url: `file:${path}`, onNotice: (text) => notices.push(text) });
        assert.deepEqual(await client.score(answers(["a"], ["b"])), { rewards: [1], costs: [2] });
        assert.deepEqual(notices, []);
        wanted = "second";
        writeFileSync(`${path}.token`, "second\n");
        chmodSync(`${path}.token`, 0o644);
        assert.deepEqual(await client.score(answers(["a"], ["b"])), { rewards: [1], costs: [2] });
        assert.equal(notices.length, 1);
        assert.match(notices[0], /can be read by other users; chmod 600/);
        wanted = "third";
        await assert.rejects(
          client.score(answers(["a"], ["b"])),
          /answered 401: no token; .*is not this scorer's/,
        );
        await createScorerClient({ url: open.url }).checkHealth();
        assert.deepEqual(seen, [undefined]);
      } finally {
        for (const run of cleanups) await run();
      }
    }));

  it("that no header may hold is refused, and not shown", () => {
    const url = "http://127.0.0.1:1";
    assert.throws(() => createScorerClient({ url, token: "two words" }), (error: Error) => {
      assert.match(error.message, /^token holds no token: need one line of visible ASCII/);
      return !error.message.includes("words");
    });
  });
});

describe("lines about an outage", () => {
  it("of ten minutes: one when it begins, one a minute, one when it is over", () => {
    const clock = fakeClock();
    const lines: string[] = [];
    const { onRetry, onRecovered } = outageLines((text) => lines.push(text), clock.nowMs);
    for (let seconds = 0; seconds < 600; seconds += 5) {
      onRetry({
        url: "http://a",
        error: new Error("refused"),
        isKnown: true,
        spentMs: seconds * 1000,
        maxMs: 900_000,
      });
      clock.passMs(5000);
    }
    onRecovered({ url: "http://a", spentMs: 600_000 });
    assert.equal(lines.length, 11, lines.join("\n"));
    assert.equal(
      lines[0],
      "Scorer http://a does not answer (refused); asking again for up to 900 s (scorer_retry_max_s)",
    );
    assert.match(lines[1], /asking again for 60 s so far, up to 900 s/);
    assert.equal(lines[10], "Scorer http://a answers; 600.0 s were waited");
  });

  it("that come and go are not told each time", () => {
    const lines: string[] = [];
    const { onRetry, onRecovered } = outageLines((text) => lines.push(text), () => 5);
    for (let batch = 0; batch < 50; batch++) {
      onRetry({ url: "http://a", error: new Error("429: busy"), isKnown: true, spentMs: 0, maxMs: 1000 });
      onRecovered({ url: "http://a", spentMs: 10 });
    }
    assert.equal(lines.length, 2, lines.join("\n"));
  });
});
