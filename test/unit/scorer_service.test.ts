/** The address that a scorer service tells its clients, and how it lets go of them. */
import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { link, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { serveScorer } from "../../src/scorer/serve.ts";
import { writeScorerUrl } from "../../src/scorer/url.ts";
import { withScratchFolder } from "./scratch_folder.ts";

async function addressOn(host?: string): Promise<string> {
  const scoreTexts = () => Promise.resolve({ rewards: [], costs: [] });
  const { url, close } = await serveScorer({ scoreTexts, device: "fake", hostname: host, insecure: true });
  await close();
  return url;
}

describe("a scorer's address", () => {
  it("names this machine where the service listens on all of its addresses: others can use it too", async () => {
    const [, host, port] = /^http:\/\/(.*):(\d+)$/.exec(await addressOn("0.0.0.0"))!;
    assert.equal(host, hostname());
    assert.notEqual(port, "0");
  });

  it("is this machine's own alone where no host is given", async () => {
    assert.match(await addressOn(), /^http:\/\/127\.0\.0\.1:\d+$/);
  });

  it("takes the place of the one before in one move: a reader sees the old file or the new one", () =>
    withScratchFolder(async (folder) => {
      const path = join(folder, "url");
      const reader = join(folder, "as the reader opened it");
      await writeScorerUrl(path, "http://old:1");
      await link(path, reader);
      await writeScorerUrl(path, "http://new:1");
      assert.equal(await readFile(reader, "utf8"), "http://old:1\n");
      assert.equal(await readFile(path, "utf8"), "http://new:1\n");
    }));
});

it("the last answer of a scorer that is ending closes its connection, which the client would keep", async (t) => {
  let started = () => {};
  let finish = () => {};
  const running = new Promise<void>((resolve) => started = resolve);
  const gate = new Promise<void>((resolve) => finish = resolve);
  const scorer = await serveScorer({
    device: "fake",
    scoreTexts: async (texts) => {
      started();
      await gate;
      return { rewards: texts.map(() => 0), costs: texts.map(() => 0) };
    },
  });
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const ask = (path: string, body?: string) =>
    new Promise<string | undefined>((resolve, reject) => {
      const method = body === undefined ? "GET" : "POST";
      request(`${scorer.url}${path}`, { agent, method }, (response) => {
        response.resume().on("end", () => resolve(response.headers.connection));
      }).on("error", reject).end(body);
    });
  assert.notEqual(await ask("/health"), "close");
  const last = ask("/score_texts", '{"texts": ["a"]}');
  await running;
  const closed = scorer.close();
  finish();
  assert.equal(await last, "close");
  await closed;
});
