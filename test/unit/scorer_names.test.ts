/** Several rewards and costs over HTTP: objects of lists, as the contract has them. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { createScorerClient, type ScorerClientOptions } from "../../src/scorer/client.ts";
import { createScorerApp } from "../../src/scorer/server.ts";
import { scoreInBatches } from "../../src/scorer/service/batches.ts";
import { answers } from "../answers.ts";

const THREE = answers(["one", "two", "three"], ["a", "bb", "ccc"]);

/** A client of a service that answers so, by the number of its request. */
async function clientOf(
  t: TestContext,
  scores: (request: number, count: number) => unknown,
  options: Partial<ScorerClientOptions> = {},
) {
  let requests = 0;
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const body = request.method === "GET"
      ? { status: "healthy", device: "test" }
      : scores(requests++, JSON.parse(text).prompts.length);
    response.setHeader("content-type", "application/json").end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return createScorerClient({ url, retryMaxMs: 0, ...options });
}

const many = (count: number, value: number) => Array.from({ length: count }, (_, i) => value + i);

describe("scores by name over HTTP", () => {
  it("are joined over requests, with the largest as the cost and the sum as the reward", async (t) => {
    const client = await clientOf(t, (request, count) => ({
      rewards: { help: many(count, request), style: many(count, 10) },
      costs: { harm: many(count, -1), tone: many(count, request) },
    }), { batchSize: 2 });
    assert.deepEqual(await client.score(THREE), {
      rewards: [10, 12, 11],
      costs: [0, 1, 1],
      named: {
        "rewards/help": [0, 1, 1],
        "rewards/style": [10, 11, 10],
        "costs/harm": [-1, 0, -1],
        "costs/tone": [0, 1, 1],
      },
    });
  });

  it("are refused where nothing says what becomes of each, with the setting that would", async (t) => {
    const several = (_: number, count: number) => ({
      rewards: many(count, 0),
      costs: { harm: many(count, 0), tone: many(count, 0) },
    });
    await assert.rejects(
      (await clientOf(t, several, { named: [] })).score(THREE),
      /"costs" has 2 names \(harm, tone\), and costs is null.*set costs to \[\{name: harm\}, \{name: tone\}\]/s,
    );
    const one = (_: number, count: number) => ({ rewards: many(count, 0), costs: { harm: many(count, 3) } });
    assert.deepEqual((await (await clientOf(t, one, { named: [] })).score(THREE)).costs, [3, 4, 5]);
  });

  for (
    const [what, costs, problem] of [
      [
        "a list that is too short",
        { harm: [1, 2, 3], tone: [1, 2] },
        /"costs\/tone" has 2 numbers; need one for each/,
      ],
      ["a number that is none", { harm: [1, null, 3] }, /"costs\/harm"\[1\] is null; need a finite number/],
      ["no names", {}, /"costs" is an object of 0 names; need 1 to 64/],
      ["a list of objects", [{ harm: 1 }], /"costs" has 1 numbers/],
      [
        "a score too large, which is not the largest",
        { harm: [-1e7, 0, 0], tone: [0, 0, 0] },
        /"costs\/harm"\[0\] is/,
      ],
    ] as const
  ) {
    it(`are refused with ${what}`, async (t) => {
      const client = await clientOf(t, () => ({ rewards: [0, 0, 0], costs }));
      await assert.rejects(client.score(THREE), problem);
    });
  }

  it("are refused where one answer has other names than the one before", async (t) => {
    const client = await clientOf(t, (request, count) => ({
      rewards: many(count, 0),
      costs: request === 0 ? { harm: many(count, 0) } : { tone: many(count, 0) },
    }), { batchSize: 2 });
    await assert.rejects(
      client.score(THREE),
      /must all have scores of the same names, got costs\/harm and costs\/tone/,
    );
  });

  it("are what the service answers with several cost models, and a list with one", async () => {
    const scoreTexts = (names: readonly string[]) =>
      scoreInBatches({
        prepare: (text) => ({ tokens: text.length, isCut: false }),
        score: (texts) =>
          Promise.resolve({
            rewards: texts.map(({ tokens }) => tokens),
            costs: texts.map(() => 0),
            ...(names.length > 0 && {
              named: Object.fromEntries(
                names.map((name) => [`costs/${name}`, texts.map(({ tokens }) => -tokens)]),
              ),
            }),
          }),
      });
    const answerOf = async (names: readonly string[]) => {
      const app = createScorerApp({ scoreTexts: scoreTexts(names), device: "test" });
      const body = JSON.stringify({ texts: ["a", "bb"] });
      return await (await app.request("/score_texts", { method: "POST", body })).json();
    };
    const told = { rewards: [1, 2], truncated: [false, false] };
    assert.deepEqual(await answerOf([]), { ...told, costs: [0, 0] });
    assert.deepEqual(await answerOf(["harm", "tone"]), {
      ...told,
      costs: { harm: [-1, -2], tone: [-1, -2] },
    });
  });
});
