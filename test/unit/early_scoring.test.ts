/** Scores of completions that are asked for while others are being sampled. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Scorer } from "../../src/scorer/protocol.ts";
import { scoreEarly } from "../../src/train/early_scoring.ts";
import type { Rollout } from "../../src/train/rollout.ts";

const rollout = (value: number) =>
  ({ prompt: { user: "of" }, text: String(value), tokens: [], end: "eos" }) as unknown as Rollout;

/** The reward of a text is its number. */
function recordingScorer(): { scorer: Scorer; requests: string[][] } {
  const requests: string[][] = [];
  return {
    requests,
    scorer: {
      score: (_prompts, responses) => {
        requests.push(responses);
        return Promise.resolve({
          rewards: responses.map(Number),
          costs: responses.map((text) => -Number(text)),
        });
      },
    },
  };
}

describe("scoreEarly()", () => {
  it("puts scores in the rollouts' places, in whatever order the groups end", async () => {
    const { scorer } = recordingScorer();
    const scoring = scoreEarly(scorer, 3);
    scoring.add([rollout(4), rollout(5)], 4);
    scoring.add([rollout(0), rollout(1)], 0);
    scoring.add([rollout(2), rollout(3)], 2);
    assert.deepEqual(await scoring.finish(), {
      rewards: [0, 1, 2, 3, 4, 5],
      costs: [-0, -1, -2, -3, -4, -5],
    });
  });

  it("sends a request as soon as it is full, and at the end what is left", async () => {
    const { scorer, requests } = recordingScorer();
    const scoring = scoreEarly(scorer, 3);
    scoring.add([rollout(0), rollout(1)], 0);
    await Promise.resolve();
    assert.deepEqual(requests, []);
    scoring.add([rollout(2), rollout(3)], 2);
    await Promise.resolve();
    assert.deepEqual(requests, [["0", "1", "2"]]);
    await scoring.finish();
    assert.deepEqual(requests, [["0", "1", "2"], ["3"]]);
  });

  it("a failure is told by finish(), and nothing is sent after it", async () => {
    let requests = 0;
    const scoring = scoreEarly({
      score: () => {
        requests++;
        return Promise.reject(new Error("gone"));
      },
    }, 1);
    scoring.add([rollout(0), rollout(1)], 0);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await assert.rejects(scoring.finish(), /gone/);
    assert.equal(requests, 1);
  });
});
