import assert from "node:assert/strict";
import { test } from "node:test";
import { quadrantOf, summarizeSafety } from "../../src/rl/quadrants.ts";

test("safe is C <= 0 and helpful is R > 0, borders included", () => {
  assert.deepEqual(
    [quadrantOf(1, -1), quadrantOf(0, 0), quadrantOf(1, 1e-9), quadrantOf(0, 1)],
    ["SH", "SU", "UH", "UU"],
  );
});

test("summarizeSafety() counts each quadrant and the share of safe completions", () => {
  assert.deepEqual(summarizeSafety([1, -1, 2, -2, 3], [-1, 0, 1, 2, -3]), {
    counts: { SH: 2, SU: 1, UH: 1, UU: 1 },
    total: 5,
    unsafeCount: 2,
    safeRatio: 3 / 5,
  });
  assert.ok(Number.isNaN(summarizeSafety([], []).safeRatio));
});

test("summarizeSafety() refuses scores that are missing or not finite", () => {
  assert.throws(() => summarizeSafety([1, 2], [1]), RangeError);
  assert.throws(() => summarizeSafety([1, 2], [1, NaN]), /completion 1 needs finite scores/);
});

test("summarizeSafety() refuses more costs than rewards, and scores that are infinite", () => {
  assert.throws(() => summarizeSafety([1], [1, 2]), /as many costs as rewards, got 2 and 1/);
  assert.throws(() => summarizeSafety([1, Infinity], [1, 2]), /completion 1 needs finite scores, got reward/);
});
