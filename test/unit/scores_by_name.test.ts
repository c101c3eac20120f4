/** Rewards and costs by name: what is summed, what is held to a limit, and what a scorer must give of each. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { boundedScorer } from "../../src/scorer/bounds.ts";
import { scorerByName } from "../../src/scorer/by_name.ts";
import type { Scorer, Scores } from "../../src/scorer/protocol.ts";
import { answers } from "../answers.ts";

const ASKED = answers(["hello", "how?"], ["a", "bb"]);
const giving = (scores: Scores): Scorer => ({ score: () => Promise.resolve(scores) });
const cost = (name: string, field = name) => ({ name, field });
const reward = (name: string, weight: number) => ({ name, field: name, weight });

const SCORES: Scores = {
  rewards: [9, 9],
  costs: [8, 8],
  named: {
    "rewards/help": [1, 2],
    "rewards/style": [10, NaN],
    "costs/harm": [-1, 3],
    "costs/tone": [-2, -4],
    "costs/length": [7, 7],
  },
};

describe("a scorer by name", () => {
  it("makes the cost the largest of those wanted, so that 0 or less is safe by all, and watches the others", async () => {
    const scorer = scorerByName(giving(SCORES), { rewards: null, costs: [cost("harm"), cost("tone")] });
    assert.deepEqual(await scorer.score(ASKED), { ...SCORES, costs: [-1, 3] });
  });

  it("calls a cost by the name of the settings, not by the scorer's own", async () => {
    const wanted = { rewards: null, costs: [cost("danger", "harm"), cost("harm", "tone")] };
    const { named } = await scorerByName(giving(SCORES), wanted).score(ASKED);
    assert.deepEqual([named!["costs/danger"], named!["costs/harm"]], [[-1, 3], [-2, -4]]);
    assert.ok(!("costs/tone" in named!));
  });

  it("makes the reward the sum of those wanted by weight, of those that apply", async () => {
    const wanted = { rewards: [reward("help", 2), reward("style", 0.5)], costs: null };
    const { rewards, costs } = await scorerByName(giving(SCORES), wanted).score(ASKED);
    assert.deepEqual([rewards, costs], [[2 + 5, 4], [8, 8]]);
    const watched = { rewards: [reward("help", 1), reward("style", 0)], costs: null };
    assert.deepEqual((await scorerByName(giving(SCORES), watched).score(ASKED)).rewards, [1, 2]);
  });

  it("takes one cost of the list that has no name, but not several", async () => {
    const plain = giving({ rewards: [1, 2], costs: [3, 4] });
    const one = await scorerByName(plain, { rewards: null, costs: [cost("harm")] }).score(ASKED);
    assert.deepEqual(one.named, { "costs/harm": [3, 4] });
    await assert.rejects(
      scorerByName(plain, { rewards: null, costs: [cost("harm"), cost("tone")] }).score(ASKED),
      /RangeError: costs names "harm", which the scorer does not give: it gives one list without a name; correct/,
    );
  });

  it("says which names there are where one is not", () =>
    assert.rejects(
      scorerByName(giving(SCORES), { rewards: null, costs: [cost("spite")] }).score(ASKED),
      /RangeError: costs names "spite", which the scorer does not give: it gives harm, tone, length; correct the name/,
    ));

  it("refuses a completion without a cost that has a limit, and one to which no reward applies", async () => {
    const gaps = giving({
      ...SCORES,
      named: { ...SCORES.named, "costs/harm": [0, NaN], "rewards/help": [1, NaN] },
    });
    await assert.rejects(
      scorerByName(gaps, { rewards: null, costs: [cost("tone"), cost("harm")] }).score(ASKED),
      /Cost "harm" of completion 1 is null; need a finite number/,
    );
    await assert.rejects(
      scorerByName(gaps, { rewards: [reward("help", 1), reward("style", 1)], costs: null }).score(ASKED),
      /No reward applies to completion 1: all of "help", "style" gave none/,
    );
  });

  it("holds each of the costs to scorer_max_abs_score, also one that is not the largest", () => {
    const far = giving({
      ...SCORES,
      named: { ...SCORES.named, "costs/tone": [-2e6, 0], "costs/length": [9e6, 0] },
    });
    const scorer = scorerByName(far, { rewards: null, costs: [cost("harm"), cost("tone")] });
    return assert.rejects(
      boundedScorer(scorer, 1e6, ["costs/harm", "costs/tone"]).score(ASKED),
      /"costs\/tone"\[0\] is -2000000, for an answer to "hello"; need a score between/,
    );
  });

  it("is the scorer itself where nothing is asked for by name", () => {
    const scorer = giving(SCORES);
    assert.equal(scorerByName(scorer, { rewards: null, costs: null }), scorer);
  });
});
