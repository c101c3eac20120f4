/** Scorers of one's own functions: sums, names, and what they may not give. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  combineScorers,
  functionScorer,
  type FunctionScores,
  type ScoreFunction,
} from "../../src/scorer/functions.ts";
import { answers } from "../answers.ts";

const asked = answers(["hello", "how?"], ["a", "bb"]);
const lengths = {
  name: "length",
  score: (list: typeof asked) => list.map(({ completion }) => completion.length),
};
const giving = (name: string, values: FunctionScores, weight?: number) => ({
  name,
  weight,
  score: () => values,
});

describe("a scorer of functions", () => {
  it("sums what they say by their weights, rewards and costs apart, and keeps what each said", async () => {
    const scorer = functionScorer({
      rewards: [{ ...lengths, weight: 2 }, giving("half", [0.5, -0.5])],
      costs: [giving("harm", [3, 4], 0.5)],
    });
    assert.deepEqual(await scorer.score(asked), {
      rewards: [2.5, 3.5],
      costs: [1.5, 2],
      named: { "rewards/length": [1, 2], "rewards/half": [0.5, -0.5], "costs/harm": [3, 4] },
    });
  });

  it("only watches a function of weight 0", async () => {
    const scorer = functionScorer({ rewards: [lengths, giving("watched", [7, 9], 0)] });
    const { rewards, costs, named } = await scorer.score(asked);
    assert.deepEqual([rewards, costs, named!["rewards/watched"]], [[1, 2], [0, 0], [7, 9]]);
  });

  it("leaves out of an answer's sum what does not apply to it", async () => {
    const { rewards, named } = await functionScorer({
      rewards: [giving("some", [null, 5]), giving("all", [1, 1])],
    }).score(asked);
    assert.deepEqual([rewards, named!["rewards/some"]], [[1, 6], [NaN, 5]]);
  });

  it("refuses an answer that no function applies to, rather than to invent its score", async () => {
    const rewards = [giving("x", [1, null]), giving("y", [1, null])];
    await assert.rejects(
      functionScorer({ rewards }).score(asked),
      /RangeError: No function in rewards applies to completion 1 \("bb"\): all of "x", "y" gave null/,
    );
  });

  it("runs all functions of a call at once, and tells them the step", async () => {
    let begun = 0;
    const together = (name: string) => ({
      name,
      async score(_: unknown, { step }: { step?: number }) {
        begun++;
        while (begun < 2) await new Promise((resolve) => setTimeout(resolve, 1));
        return [step!, step!];
      },
    });
    const scorer = functionScorer({ rewards: [together("a")], costs: [together("b")] });
    const { rewards, costs } = await scorer.score(asked, { step: 4 });
    assert.deepEqual([rewards, costs], [[4, 4], [4, 4]]);
  });

  it("names the function that gives anything but a number or null for each answer", async () => {
    const wrong: [unknown, RegExp][] = [
      [[1], /TypeError: Reward function "bad" gave 1 scores for 2 answers; need one for each/],
      [[1, NaN], /TypeError: Reward function "bad" gave NaN for completion 1; need a finite number, or null/],
      [[1, Infinity], /gave Infinity for completion 1/],
      [["1", 2], /gave "1" for completion 0/],
      [[true, 2], /gave true for completion 0/],
      [[undefined, 2], /gave missing for completion 0/],
      [7, /gave 7; need a list/],
      [undefined, /gave missing; need a list/],
      ["12", /gave "12"; need a list/],
    ];
    for (const [values, message] of wrong) {
      const scorer = functionScorer({ rewards: [giving("bad", values as FunctionScores)] });
      await assert.rejects(scorer.score(asked), message);
    }
  });

  it("says which function failed, with its own error as the cause", async () => {
    const cause = new Error("no such column");
    const scorer = functionScorer({
      costs: [{
        name: "tests",
        score() {
          throw cause;
        },
      }],
    });
    await assert.rejects(scorer.score(asked), {
      message: 'Cost function "tests" failed: no such column',
      cause,
    });
  });

  it("says what a function is called with where it was written for another call, as TRL's", async () => {
    const ofCompletions = (_: unknown, completions?: string[]) => completions!.map((text) => text.length);
    await assert.rejects(
      functionScorer({
        rewards: [{ name: "brief", score: ofCompletions as unknown as ScoreFunction["score"] }],
      }).score(asked),
      /Reward function "brief" failed: .*; it is called with one list of answers \{prompt, completion/,
    );
    const ofTexts = (texts: readonly unknown[]) => texts.map((text) => -(text as string).length);
    await assert.rejects(
      functionScorer({ rewards: [{ name: "brief", score: ofTexts }] }).score(asked),
      /gave NaN for completion 0; .*; it is called with one list of answers/,
    );
  });

  it("gives a cancelled call's own reason, not a function's", async () => {
    const reason = new Error("stopped");
    const scorer = functionScorer({ rewards: [lengths] });
    await assert.rejects(scorer.score(asked, { signal: AbortSignal.abort(reason) }), reason);
  });

  it("takes typed arrays", async () => {
    const { rewards } = await functionScorer({ rewards: [giving("x", new Float32Array([1, 2]))] }).score(
      asked,
    );
    assert.deepEqual(rewards, [1, 2]);
  });

  it("is refused without functions, with two of a name, no name, or a weight that is no number", () => {
    assert.throws(() => functionScorer({}), /RangeError: functionScorer needs at least one function/);
    assert.throws(
      () => functionScorer({ rewards: [lengths, lengths] }),
      /Two functions in rewards have the name/,
    );
    assert.throws(() => functionScorer({ rewards: [giving(" ", [])] }), /need a non-empty one/);
    assert.throws(
      () => functionScorer({ costs: [giving("x", [], NaN)] }),
      /The weight of cost function "x" is NaN; need a finite number/,
    );
  });
});

describe("combined scorers", () => {
  const first = functionScorer({ rewards: [giving("a", [1, 2])], costs: [giving("a", [5, 6])] });
  const second = { score: () => Promise.resolve({ rewards: [10, 20], costs: [100, 200] }) };

  it("add up, each by its weights, and keep all names", async () => {
    const both = combineScorers([first, { scorer: second, rewardWeight: 0.5, costWeight: 0 }]);
    assert.deepEqual(await both.score(asked), {
      rewards: [6, 12],
      costs: [5, 6],
      named: { "rewards/a": [1, 2], "costs/a": [5, 6] },
    });
  });

  it("are refused where there is none, a weight is no number, or two name a score alike", async () => {
    assert.throws(() => combineScorers([]), /RangeError: combineScorers needs at least one scorer/);
    assert.throws(() => combineScorers([{ scorer: second, costWeight: Infinity }]), /costWeight of scorer 0/);
    await assert.rejects(
      combineScorers([first, first]).score(asked),
      /name a score "rewards\/a"; rename one/,
    );
  });
});
