/** A scorer service that is asked to end lets go of its clients. */
import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { it } from "node:test";
import { serveScorer } from "../../src/scorer/serve.ts";

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
