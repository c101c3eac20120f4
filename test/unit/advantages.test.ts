import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { groupAdvantagesF64, rewardStatistics } from "../../src/rl/advantages.ts";

const score = fc.double({ min: -100, max: 100, noNaN: true });
const groups = fc.array(fc.array(score, { minLength: 4, maxLength: 4 }), { minLength: 1, maxLength: 5 });

function assertClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < actual.length; i++) {
    assert.ok(Math.abs(actual[i]! - expected[i]!) <= tolerance, `[${i}] ${actual[i]} != ${expected[i]}`);
  }
}

test("groupAdvantagesF64() matches a group worked by hand", () => {
  // Scores 1, 2, 3, 6: mean 3, squares 4 + 1 + 0 + 9 = 14, std = sqrt(14 / 3).
  const std = Math.sqrt(14 / 3);
  const { advantages, groupMeans, groupStds } = groupAdvantagesF64([1, 2, 3, 6], 4, "group");
  assertClose(advantages, [-2, -1, 0, 3].map((centred) => centred / (std + 1e-4)), 1e-15);
  assertClose(groupMeans, [3], 0);
  assertClose(groupStds, [std], 1e-15);
});

test("groupAdvantagesF64() with batch divides by the deviation of all scores, with none by nothing", () => {
  // 0, 2 | 4, 6: mean 3, squares 9 + 1 + 1 + 9 = 20, std = sqrt(20 / 3); centred on the group means 1 and 5.
  const scale = Math.sqrt(20 / 3) + 1e-4;
  assertClose(
    groupAdvantagesF64([0, 2, 4, 6], 2, "batch").advantages,
    [-1, 1, -1, 1].map((c) => c / scale),
    1e-15,
  );
  assertClose(groupAdvantagesF64([0, 2, 4, 6], 2, "none").advantages, [-1, 1, -1, 1], 0);
});

test("a completion without a score gets advantage 0 and is left out of mean and deviation", () => {
  const { advantages, groupMeans } = groupAdvantagesF64([1, NaN, 3, NaN, NaN, NaN], 3, "group");
  const scale = Math.SQRT2 + 1e-4; // of 1 and 3 alone
  assertClose(advantages, [-1 / scale, 0, 1 / scale, 0, 0, 0], 1e-15);
  assert.equal(groupMeans[0], 2);
  assert.ok(Number.isNaN(groupMeans[1]));
});

test("a group whose scores agree gives exactly no gradient and is counted", () => {
  const scores = [0.1, 0.1, 0.1, 1, 2, 3];
  assertClose(groupAdvantagesF64(scores, 3, "group").advantages.slice(0, 3), [0, 0, 0], 0);
  assert.equal(rewardStatistics(scores, 3, "group").fracRewardZeroStd, 0.5);
  assert.equal(rewardStatistics(scores, 3, "batch").fracRewardZeroStd, 0);
});

test("a group with fewer than two scores has no deviation: no gradient, and not counted as without spread", () => {
  const { advantages, groupStds } = groupAdvantagesF64([5, NaN, NaN, 1, 2, 3], 3, "group");
  assertClose(advantages.slice(0, 3), [0, 0, 0], 0);
  assert.ok(Number.isNaN(groupStds[0]));
  assert.equal(rewardStatistics([5, NaN, NaN, 1, 2, 3], 3, "group").fracRewardZeroStd, 0);
});

test("advantages do not change when a constant is added to a group", () => {
  fc.assert(fc.property(groups, score, (scores, constant) => {
    const flat = scores.flat();
    const shifted = flat.map((value, i) => (i < 4 ? value + constant : value));
    // 1e-12 of rounding in the mean, divided by at least epsilon = 1e-4
    assertClose(
      groupAdvantagesF64(shifted, 4, "group").advantages,
      groupAdvantagesF64(flat, 4, "group").advantages,
      1e-8,
    );
  }));
});

test("advantages of a group add up to 0", () => {
  fc.assert(fc.property(groups, fc.constantFrom("group", "batch", "none"), (scores, scale) => {
    const { advantages } = groupAdvantagesF64(scores.flat(), 4, scale);
    for (let g = 0; g < scores.length; g++) {
      const total = advantages.slice(4 * g, 4 * g + 4).reduce((sum, value) => sum + value, 0);
      assert.ok(Math.abs(total) < 1e-8, `group ${g}: ${total}`);
    }
  }));
});

test("groupAdvantagesF64() refuses scores that are no whole groups", () => {
  assert.throws(() => groupAdvantagesF64([1, 2, 3], 2, "group"), RangeError);
});

test("a group of one completion has mean and deviation 0 of its own: no gradient, and counted as without spread", () => {
  const { advantages, groupMeans, groupStds } = groupAdvantagesF64([3, -7], 1, "group");
  assert.deepEqual([[...advantages], [...groupMeans], [...groupStds]], [[0, 0], [3, -7], [0, 0]]);
  assert.equal(rewardStatistics([3, -7], 1, "group").fracRewardZeroStd, 1);
});

test("a deviation of up to 1e-8 counts as none, as torch.isclose has it", () => {
  const share = (spread: number) => rewardStatistics([0, spread * Math.SQRT2], 2, "group").fracRewardZeroStd;
  assert.deepEqual([share(0.9e-8), share(1.1e-8)], [1, 0]);
  const { rewardStd, fracRewardZeroStd } = rewardStatistics([-1e-8, 0, 1e-8], 3, "group");
  assert.deepEqual([rewardStd, fracRewardZeroStd], [1e-8, 1]);
});

test("rewardStatistics() has mean and deviation of all scores, whatever divides the advantages", () => {
  for (const scale of ["group", "batch", "none"] as const) {
    const { reward, rewardStd } = rewardStatistics([0, 2, 4, NaN], 2, scale);
    assert.deepEqual([reward, rewardStd], [2, 2]);
  }
  assert.ok(Number.isNaN(rewardStatistics([NaN, NaN], 2, "group").reward));
});

test("a group size that is no whole number above 0 is refused, also where it divides the number of scores", () => {
  for (const size of [0, -2, 1.5]) {
    assert.throws(() => groupAdvantagesF64([1, 2, 3], size, "group"), /got group size/);
    assert.throws(() => rewardStatistics([1, 2, 3, 4, 5, 6], size, "group"), RangeError);
  }
});
