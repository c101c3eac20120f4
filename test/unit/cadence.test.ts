import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { isDue } from "../../src/rl/cadence.ts";

test("with one optimizer step at a time, what is due every 3 steps happens at 3, 6, 9", () => {
  const due = Array.from({ length: 10 }, (_, step) => step + 1).filter((step) => isDue(3, step, 1));
  assert.deepEqual(due, [3, 6, 9]);
});

test("a generation batch of several steps is due where it holds a multiple, wherever in the batch that lies", () => {
  // Batches of 4 steps end at 4, 8, 12, 16, 20; every 6: 6 lies in 5..8, 12 in 9..12, 18 in 17..20.
  const ends = [4, 8, 12, 16, 20];
  assert.deepEqual(ends.filter((step) => isDue(6, step, 4)), [8, 12, 20]);
  assert.deepEqual(ends.filter((step) => isDue(1, step, 4)), ends);
  assert.deepEqual(ends.filter((step) => isDue(20, step, 4)), [20]);
});

test("0 is never, also where 0 lies among the steps", () => {
  assert.equal(isDue(0, 4, 4), false);
  assert.equal(isDue(0, 4, 8), false);
});

test("isDue() is true exactly where a multiple of `every` lies among the last `done` steps", () => {
  const every = fc.integer({ min: 1, max: 40 });
  fc.assert(fc.property(every, fc.integer({ min: 1, max: 30 }), fc.nat(20), (every, done, batches) => {
    const step = (batches + 1) * done;
    const made = Array.from({ length: done }, (_, i) => step - i);
    assert.equal(isDue(every, step, done), made.some((one) => one % every === 0));
  }));
});
