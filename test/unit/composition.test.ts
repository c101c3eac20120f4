/** How rewards, costs and lambdas make advantages: worked by hand, and what each composition promises. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { groupAdvantagesF64 } from "../../src/rl/advantages.ts";
import {
  ADVANTAGE_COMPOSITIONS,
  advantagesOf,
  advantageTerms,
  composedAdvantagesF64,
  type WeighedScores,
} from "../../src/rl/composition.ts";

const REWARD = [1, 3, 2, 6];
const HARM = [2, 0, 1, 1];
const TONE = [-1, 1, 5, 3];
const EPSILON = 1e-4;

const scoresOf = (lambdas: [harm: number, tone: number]): WeighedScores => ({
  reward: REWARD,
  rewards: [{ weight: 1, scores: REWARD }],
  costs: [HARM, TONE].map((scores, k) => ({ scores, lambdas: REWARD.map(() => lambdas[k]) })),
});

const near = (actual: ArrayLike<number>, expected: readonly number[]) =>
  Array.from(actual).forEach((value, i) =>
    assert.ok(Math.abs(value - expected[i]) < 1e-12, `${i}: ${value}`)
  );

describe("advantages of several costs", () => {
  it("are those of the combined score alone with `reward`", () => {
    assert.equal(advantageTerms("reward", scoresOf([1, 1])), null);
    const combined = REWARD.map((reward, i) => reward - HARM[i]);
    assert.deepEqual(
      advantagesOf({ combined, terms: null }, 2, "group"),
      groupAdvantagesF64(combined, 2, "group").advantages,
    );
  });

  it("subtract each standardized cost with `advantage`, worked by hand", () => {
    // Of two values a and b the deviation is |a - b| / sqrt(2), so Z = -+ |a - b| / 2 / (|a - b| / sqrt(2) + 1e-4).
    const z = (a: number, b: number) => (a - b) / 2 / (Math.abs(a - b) / Math.SQRT2 + EPSILON);
    const terms = advantageTerms("advantage", scoresOf([0.5, 2]))!;
    const first = z(1, 3) - 0.5 * z(2, 0) - 2 * z(-1, 1);
    const third = z(2, 6) - 0.5 * z(1, 1) - 2 * z(5, 3);
    near(composedAdvantagesF64(terms, 2, "group"), [first, -first, third, -third]);
  });

  it("are divided by 1 + the sum of the lambdas with `ppo_lag`, each by those of its own rank", () => {
    const scores = scoresOf([0.5, 2]);
    const [harm, tone] = scores.costs;
    const ofRanks = {
      ...scores,
      costs: [{ ...harm, lambdas: [0.5, 0.5, 3, 3] }, { ...tone, lambdas: [2, 2, 4, 4] }],
    };
    const plain = composedAdvantagesF64(advantageTerms("advantage", ofRanks)!, 2, "group");
    near(
      composedAdvantagesF64(advantageTerms("ppo_lag", ofRanks)!, 2, "group"),
      [plain[0] / 3.5, plain[1] / 3.5, plain[2] / 8, plain[3] / 8],
    );
  });

  it("have mean 0 and deviation 1 over the batch with `gdpo`, whatever the lambdas", () => {
    for (const lambdas of [[0, 0], [1, 3], [100, 0.01]] as const) {
      const values = composedAdvantagesF64(advantageTerms("gdpo", scoresOf([...lambdas]))!, 2, "group");
      const mean = values.reduce((sum, value) => sum + value) / values.length;
      const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
      assert.ok(Math.abs(mean) < 1e-12 && Math.abs(Math.sqrt(squares) - 1) < 1e-3, `${lambdas}`);
    }
  });

  it("do not change with the unit of a cost where it is standardized apart, and do with `reward`", () => {
    const [harm, tone] = scoresOf([1, 1]).costs;
    const thousandfold = { ...harm, scores: harm.scores.map((cost) => 1000 * cost) };
    const advantages = (composition: "advantage" | "gdpo" | "ppo_lag", costs: WeighedScores["costs"]) =>
      composedAdvantagesF64(advantageTerms(composition, { ...scoresOf([1, 1]), costs })!, 2, "group");
    for (const composition of ["advantage", "gdpo", "ppo_lag"] as const) {
      const [own, other] = [[harm, tone], [thousandfold, tone]].map((costs) =>
        advantages(composition, costs)
      );
      // The 1e-4 beside a deviation of 1.4 is what is left of the unit.
      own.forEach((value, i) => assert.ok(Math.abs(value - other[i]) < 2e-4, composition));
    }
  });

  it("of gdpo take each reward apart, by its weight, and leave out one that is only watched", () => {
    const apart = (rewards: WeighedScores["rewards"]) =>
      advantageTerms("gdpo", { ...scoresOf([1, 1]), rewards })!.terms;
    const [first, second] = [REWARD, REWARD.map((reward) => -reward)];
    const terms = apart([{ weight: 2, scores: first }, { weight: 0, scores: second }]);
    assert.deepEqual(terms.map(({ weights }) => weights[0]), [2, -1, -1]);
    assert.deepEqual(terms[0].scores, first);
  });

  it("are known by name to the config", () => {
    assert.deepEqual([...ADVANTAGE_COMPOSITIONS], ["reward", "advantage", "gdpo", "ppo_lag"]);
  });
});
