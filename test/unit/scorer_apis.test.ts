/** What services of other kinds are asked, as their own sources take it, and how their answers are read. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it, type TestContext } from "node:test";
import { createScorerClient, type ScorerClientOptions } from "../../src/scorer/client.ts";
import type { Answer } from "../../src/scorer/protocol.ts";
import { answers } from "../answers.ts";

interface Asked {
  path: string;
  body: Record<string, unknown>;
}

interface Reply {
  status?: number;
  body: unknown;
}

/** A service: what it was asked, and a client of it. A health that is undefined is answered by 200 alone. */
async function start(
  t: TestContext,
  reply: (asked: Asked) => Reply,
  options: Partial<ScorerClientOptions>,
  path = "",
) {
  const asked: Asked[] = [];
  let healthChecks = 0;
  const server = createServer(async (request, response) => {
    if (request.method === "GET") {
      healthChecks++;
      return void response.end();
    }
    const one = { path: request.url!, body: await bodyOf(request) };
    asked.push(one);
    const { status = 200, body } = reply(one);
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
  const client = createScorerClient({ url, retryMaxMs: 0, ...options });
  return { asked, client, healthChecks: () => healthChecks };
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = "";
  for await (const chunk of request) text += chunk;
  return JSON.parse(text);
}

const TWO: readonly Answer[] = answers(["hello", "why?"], ["Hi!", "So."]).map((answer, i) => ({
  ...answer,
  columns: i === 0 ? { solution: "42" } : {},
}));
const FULL = ["<s>helloHi!</s>", "<s>why?So.</s>"];

describe("a remote reward model of OpenRLHF", () => {
  const rewards = (body: unknown): Reply => ({ body });

  it("gets queries, prompts and labels as OpenRLHF sends them, and no question after its health", async (t) => {
    const { asked, client, healthChecks } = await start(
      t,
      () => rewards({ rewards: [1, -2], scores: [0.5, 0], extra_logs: { dummy_scores: [1, -2] } }),
      { api: "openrlhf", kinds: ["rewards"], labelKey: "solution" },
    );
    assert.equal((await client.checkHealth()).status, "healthy");
    assert.deepEqual(await client.score(TWO), { rewards: [1, -2], costs: [] });
    assert.deepEqual(asked, [{
      path: "/get_reward",
      body: { query: FULL, prompts: ["<s>hello", "<s>why?"], labels: ["42", ""] },
    }]);
    assert.equal(healthChecks(), 0);
  });

  it("is asked at the path of its address, where that has one", async (t) => {
    const reply = () => rewards({ rewards: [1, 2] });
    const { asked, client } = await start(t, reply, { api: "openrlhf", kinds: ["costs"] }, "/score/v1/");
    assert.deepEqual(
      await client.score(TWO),
      { rewards: [], costs: [1, 2] },
      "a service of costs says rewards",
    );
    assert.deepEqual(asked.map(({ path, body }) => [path, body.labels]), [["/score/v1", ["", ""]]]);
  });

  it("that also answers costs gives both; without them the remedy is cost_scorer_url", async (t) => {
    const both = await start(t, () => rewards({ rewards: [1, 2], costs: [3, 4] }), { api: "openrlhf" });
    assert.deepEqual(await both.client.score(TWO), { rewards: [1, 2], costs: [3, 4] });
    const one = await start(t, () => rewards({ rewards: [1, 2] }), { api: "openrlhf" });
    await assert.rejects(one.client.score(TWO), {
      name: "ScorerContractError",
      message: /"costs" is missing; .*set cost_scorer_url to the service that gives them$/,
    });
  });

  it("that is none is told to be something else, at its first request and no later", async (t) => {
    const replies: Reply[] = [rewards({ hello: 1 }), rewards({ rewards: [1, 2] }), rewards({ rewards: [1] })];
    const { client } = await start(t, () => replies.shift()!, { api: "openrlhf", kinds: ["rewards"] });
    await assert.rejects(client.score(TWO), /"rewards" is missing.*something else answers there/);
    await client.score(TWO);
    await assert.rejects(
      client.score(TWO),
      /"rewards" has 1 numbers; need one for each of 2.*look at the scorer's log/,
    );
  });
});

describe("vLLM's /classify", () => {
  /** As its ClassificationResponse. */
  const classified = (rows: number[][]): Reply => ({
    body: {
      id: "classify-1",
      object: "list",
      created: 1,
      model: "m",
      data: rows.map((probs, index) => ({ index, label: "LABEL_0", probs, num_classes: probs.length })),
      usage: { prompt_tokens: 3, total_tokens: 3, completion_tokens: 0 },
    },
  });
  const OPTIONS = { use_activation: false, truncate_prompt_tokens: -1 };

  it("gets queries without further control tokens, and gives the logit of the only label", async (t) => {
    const { asked, client, healthChecks } = await start(
      t,
      () => classified([[0.5], [-3]]),
      { api: "vllm_classify", kinds: ["rewards"] },
    );
    assert.deepEqual(await client.score(TWO), { rewards: [0.5, -3], costs: [] });
    assert.deepEqual(asked, [{
      path: "/classify",
      body: { input: FULL, add_special_tokens: false, ...OPTIONS },
    }]);
    assert.equal(healthChecks(), 1);
  });

  it("gives rewards and costs as two labels of one answer", async (t) => {
    const options = { api: "vllm_classify", input: "completion", rewardLabel: 0, costLabel: 2 } as const;
    const { asked, client } = await start(t, () => classified([[1, 2, 3], [4, 5, 6]]), options);
    assert.deepEqual(await client.score(TWO), { rewards: [1, 4], costs: [3, 6] });
    assert.deepEqual(asked[0].body, { input: ["Hi!", "So."], ...OPTIONS });
  });

  it("gets conversations by their messages one in a request, in the order of the answers", async (t) => {
    const options = { api: "vllm_classify", kinds: ["rewards"], input: "messages" } as const;
    const { asked, client } = await start(t, ({ body }) => {
      const [, { content }] = body.messages as { content: string }[];
      return classified([[content.length]]);
    }, options);
    const four = answers(["a", "b", "c", "d"], ["1", "22", "333", "4444"]);
    assert.deepEqual((await client.score(four)).rewards, [1, 2, 3, 4]);
    const first = asked.find(({ body }) => JSON.stringify(body).includes('"22"'))!;
    const messages = [{ role: "user", content: "b" }, { role: "assistant", content: "22" }];
    assert.deepEqual(first.body, { messages, ...OPTIONS });
  });

  it("one request of several that fails is the batch's failure", async (t) => {
    const options = { api: "vllm_classify", kinds: ["rewards"], input: "messages" } as const;
    const { client } = await start(t, ({ body }) => {
      return JSON.stringify(body).includes('"22"')
        ? { status: 400, body: { error: { message: "too long", type: "BadRequestError", code: 400 } } }
        : classified([[1]]);
    }, options);
    await assert.rejects(
      client.score(answers(["a", "b"], ["1", "22"])),
      /POST \/classify answered 400: too long; no score/,
    );
  });

  it("says which setting names the label, where there are several or none of that name", async (t) => {
    const told = async (options: Partial<ScorerClientOptions>) => {
      const all = { api: "vllm_classify", kinds: ["costs"], ...options } as const;
      const { client } = await start(t, () => classified([[1, 2, 3], [4, 5, 6]]), all);
      return await client.score(TWO).catch((error) => (error as Error).message);
    };
    assert.match(
      String(await told({})),
      /3 labels, and cost_label is null; .*set cost_label to one of 0 to 2/,
    );
    assert.match(String(await told({ costLabel: 3 })), /cost_label is 3, which is none of the 3 labels/);
    assert.match(
      String(await told({ costLabel: "toxic" })),
      /cost_label is "toxic".*0 to 2 \(vLLM has no names\)/,
    );
  });

  it("an answer of another shape is refused", async (t) => {
    const refused = async (body: unknown, message: RegExp) => {
      const { client } = await start(t, () => ({ body }), { api: "vllm_classify", kinds: ["rewards"] });
      await assert.rejects(client.score(TWO), message);
    };
    await refused({}, /"data" is missing; need a list/);
    await refused({ data: [] }, /"data" has 0 entries; need one for each of 2 texts/);
    await refused({ data: [{ index: 0 }, { index: 1 }] }, /"data"\[0\].probs is missing/);
    await refused({ data: [{ index: 1, probs: [1] }, { index: 0, probs: [1] }] }, /the indices \[1,0\]/);
    await refused({ data: [{ probs: [1] }, { probs: [null] }] }, /"data"\[1\].probs is \[null\]/);
  });
});

describe("Text Embeddings Inference's /predict", () => {
  /** As its PredictResponse: labels by falling score. */
  const predicted = (rows: Record<string, number>[]): Reply => ({
    body: rows.map((row) =>
      Object.entries(row).map(([label, score]) => ({ score, label })).sort((a, b) => b.score - a.score)
    ),
  });
  const OPTIONS = { raw_scores: true, truncate: true };

  it("gets queries, completions or pairs, each in a list, and gives the score of a label by name", async (t) => {
    const rows = () => predicted([{ toxic: -1, fine: 2 }, { toxic: 3, fine: -2 }]);
    for (
      const [input, inputs] of [
        ["query", FULL.map((text) => [text])],
        ["completion", [["Hi!"], ["So."]]],
        ["pair", [["hello", "Hi!"], ["why?", "So."]]],
      ] as const
    ) {
      const options = { api: "tei_predict", input, rewardLabel: "fine", costLabel: "toxic" } as const;
      const { asked, client, healthChecks } = await start(t, rows, options);
      assert.deepEqual(await client.score(TWO), { rewards: [2, -2], costs: [-1, 3] });
      assert.deepEqual(asked, [{ path: "/predict", body: { inputs, ...OPTIONS } }]);
      assert.equal(healthChecks(), 1);
    }
  });

  it("gives the only label's score, and that of a number where labels have no names", async (t) => {
    const options = { api: "tei_predict", kinds: ["rewards"] } as const;
    const only = await start(t, () => predicted([{ LABEL_0: 5 }, { LABEL_0: 6 }]), options);
    assert.deepEqual((await only.client.score(TWO)).rewards, [5, 6]);
    const rows = () => predicted([{ LABEL_0: 5, LABEL_1: 9 }, { LABEL_0: 6, LABEL_1: 1 }]);
    const numbered = await start(t, rows, { ...options, rewardLabel: 1 });
    assert.deepEqual((await numbered.client.score(TWO)).rewards, [9, 1]);
  });

  it("names the labels there are, the service's refusals, and answers of another shape", async (t) => {
    const refused = async (reply: Reply, message: RegExp) => {
      const { client } = await start(t, () => reply, { api: "tei_predict", kinds: ["rewards"] });
      await assert.rejects(client.score(TWO), message);
    };
    const two = predicted([{ b: 1, a: 2 }, { b: 1, a: 2 }]);
    await refused(two, /2 labels, and reward_label is null; .*set reward_label to one of "a", "b"/);
    await refused(
      { status: 422, body: { error: "batch size 40 > maximum", error_type: "Validation" } },
      /: batch size/,
    );
    await refused({ body: {} }, /the answer is \{\}; need a list/);
    await refused(predicted([{ a: 1 }]), /has 1 lists; need one for each of 2 texts/);
    await refused({ body: [[], []] }, /predictions 0 are \[\]; need a list/);
    await refused({ body: [[{ score: null, label: "a" }], []] }, /predictions 0 are \[\{"score":null/);
  });
});

it("a service without words of health that has some is something else", async (t) => {
  const server = createServer((_, response) => void response.end("<html>"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => void server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = createScorerClient({ url, api: "tei_predict", retryMaxMs: 0 });
  await assert.rejects(
    client.checkHealth(),
    /health is "<html>"; Text Embeddings.*something else answers there/,
  );
});

it("what a service cannot judge is refused by the setting's name", () => {
  const url = "http://localhost:1";
  assert.throws(
    () => createScorerClient({ url, api: "tei_predict", input: "messages" }),
    /RangeError: A tei_predict scorer cannot judge "messages"; set scorer_input to query or completion or pair/,
  );
});
