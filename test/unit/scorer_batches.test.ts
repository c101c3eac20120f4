/** How texts of several requests are scored together. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { scoreInBatches } from "../../src/scorer/service/batches.ts";

/** A text as it is read here: its words are its tokens. */
interface Words {
  text: string;
  tokens: number;
  isCut: boolean;
}

/** Models whose batches end when the test says so. */
function heldModels() {
  const batches: string[][] = [];
  const ends: ((error?: Error) => void)[] = [];
  let running = 0;
  return {
    batches,
    /** Ends the oldest batch. */
    async end(error?: Error) {
      for (let turns = 0; ends.length === 0 && turns < 1000; turns++) await soon();
      assert.ok(ends.length > 0, "no batch is being scored");
      ends.shift()!(error);
      await soon();
    },
    prepare(text: string): Words {
      if (text === "unreadable") throw new RangeError("no text");
      return { text, tokens: text.split(" ").length, isCut: text.includes("long") };
    },
    async score(words: readonly Words[]) {
      assert.equal(++running, 1, "two batches at once");
      batches.push(words.map(({ text }) => text));
      try {
        await new Promise<void>((resolve, reject) => ends.push((error) => error ? reject(error) : resolve()));
      } finally {
        running--;
      }
      return {
        rewards: words.map(({ text }) => text.length),
        costs: words.map(({ text }) => text.charCodeAt(0)),
      };
    },
  };
}

const soon = () => new Promise((resolve) => setTimeout(resolve, 2));
const scoresOf = (...texts: string[]) => ({
  rewards: texts.map(({ length }) => length),
  costs: texts.map((text) => text.charCodeAt(0)),
  truncated: texts.map((text) => text.includes("long")),
});

describe("a service's batches", () => {
  it("hold the texts of all requests that came while the batch before was scored", async () => {
    const models = heldModels();
    const scoreTexts = scoreInBatches(models);
    const first = scoreTexts(["a"]);
    await soon();
    const others = [scoreTexts(["b", "a long one"]), scoreTexts([]), scoreTexts(["c"])];
    await soon();
    assert.deepEqual(models.batches, [["a"]]);
    await models.end();
    assert.deepEqual(await first, scoresOf("a"));
    await models.end();
    assert.deepEqual(models.batches, [["a"], ["b", "a long one", "c"]]);
    assert.deepEqual(await Promise.all(others), [scoresOf("b", "a long one"), scoresOf(), scoresOf("c")]);
  });

  it("end with the text that reaches their tokens: a request may be in several", async () => {
    const models = heldModels();
    const facts: unknown[] = [];
    const onBatch = ({ texts, tokens }: { texts: number; tokens: number }) => facts.push([texts, tokens]);
    const scoreTexts = scoreInBatches(models, { batchTokens: 4, onBatch });
    const texts = ["a", "b b b", "c c c c c c", "d"];
    const scores = scoreTexts(texts);
    for (let batch = 0; batch < 3; batch++) await models.end();
    assert.deepEqual(await scores, scoresOf(...texts));
    assert.deepEqual(models.batches, [["a", "b b b"], ["c c c c c c"], ["d"]]);
    assert.deepEqual(facts, [[2, 4], [1, 6], [1, 1]]);
  });

  it("leave out a request with a text that cannot be read, and only that", async () => {
    const models = heldModels();
    const scoreTexts = scoreInBatches(models);
    const refused = assert.rejects(scoreTexts(["a", "unreadable", "b"]), /no text/);
    const other = scoreTexts(["c"]);
    await refused;
    await models.end();
    assert.deepEqual(await other, scoresOf("c"));
    assert.deepEqual(models.batches, [["c"]]);
  });

  it("leave out a request whose client is gone", async () => {
    const models = heldModels();
    const scoreTexts = scoreInBatches(models);
    const first = scoreTexts(["a"]);
    await soon();
    const client = new AbortController();
    const gone = assert.rejects(scoreTexts(["b"], undefined, client.signal), /gone/);
    const last = scoreTexts(["c"]);
    await soon();
    client.abort(new Error("gone"));
    await gone;
    await models.end();
    await first;
    await models.end();
    assert.deepEqual(await last, scoresOf("c"));
    assert.deepEqual(models.batches, [["a"], ["c"]]);
    await assert.rejects(scoreTexts(["d"], undefined, client.signal), /gone/);
  });

  it("that fail take their own requests along, and no later one", async () => {
    const models = heldModels();
    const scoreTexts = scoreInBatches(models);
    const failed = assert.rejects(scoreTexts(["a"]), /device lost/);
    await soon();
    const next = scoreTexts(["b"]);
    await models.end(new Error("device lost"));
    await failed;
    await assert.doesNotReject(Promise.all([next, models.end()]));
  });

  it("are read in pieces: whatever else this thread does is not held up by a request of many texts", async () => {
    const models = heldModels();
    const slow = { ...models, prepare: (text: string) => (spin(4), models.prepare(text)) };
    const scores = scoreInBatches(slow)(Array<string>(20).fill("a"));
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await models.end();
    await scores;
    clearInterval(timer);
    assert.ok(turns >= 5, `${turns} turns in 80 ms`);
  });
});

function spin(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}
