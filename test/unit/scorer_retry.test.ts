import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { backoffMs, parseRetryAfterMs, RetryBudget } from "../../src/scorer/retry.ts";
import { fakeClock } from "./fake_clock.ts";

describe("RetryBudget", () => {
  it("counts from a request's first fault until it succeeds, and not what goes well", () => {
    const clock = fakeClock();
    const budget = new RetryBudget({ maxMs: 100, clock });
    clock.passMs(1000);
    assert.deepEqual([budget.spentMs, budget.leftMs], [0, 100]);
    budget.begin();
    clock.passMs(30);
    assert.equal(budget.spentMs, 30, "while it lasts");
    budget.end();
    clock.passMs(1000);
    assert.deepEqual([budget.spentMs, budget.leftMs], [30, 70]);
  });

  it("counts once what several requests wait for at once", () => {
    const clock = fakeClock();
    const budget = new RetryBudget({ maxMs: 100, clock });
    budget.begin();
    clock.passMs(10);
    budget.begin();
    clock.passMs(10);
    budget.end();
    clock.passMs(10);
    budget.end();
    clock.passMs(10);
    assert.equal(budget.spentMs, 30);
    budget.begin();
    clock.passMs(80);
    assert.equal(budget.leftMs, -10);
  });
});

describe("backoffMs()", () => {
  const policy = (u: number) => ({ baseDelayMs: 100, maxDelayMs: 500, random: () => u });

  it("stays within 0 and min(cap, base * 2^(faults-1))", () => {
    const faults = fc.integer({ min: 1, max: 2000 });
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(fc.property(faults, random, (n, u) => {
      const delayMs = backoffMs(n, policy(u));
      assert.ok(delayMs >= 0 && delayMs <= Math.min(500, 100 * 2 ** (n - 1)), `${delayMs} ms`);
    }));
  });

  it("doubles from the base up to the cap: half of 100, 200, 400, 500 with random = 0.5", () => {
    assert.deepEqual([1, 2, 3, 4].map((n) => backoffMs(n, policy(0.5))), [50, 100, 200, 250]);
  });

  it("spreads clients over the whole interval: random = 0 waits 0, random near 1 waits the ceiling", () => {
    assert.equal(backoffMs(3, policy(0)), 0);
    assert.equal(backoffMs(3, policy(0.99)), 396);
  });
});

describe("parseRetryAfterMs()", () => {
  it("reads seconds and HTTP dates, and takes nonsense, the past and absence for 0", () => {
    const nowMs = Date.parse("Wed, 21 Oct 2026 07:28:00 GMT");
    assert.equal(parseRetryAfterMs("3", nowMs), 3000);
    assert.equal(parseRetryAfterMs("Wed, 21 Oct 2026 07:28:07 GMT", nowMs), 7000);
    assert.equal(parseRetryAfterMs("Wed, 21 Oct 2026 07:27:00 GMT", nowMs), 0);
    assert.equal(parseRetryAfterMs("soon", nowMs), 0);
    assert.equal(parseRetryAfterMs(null, nowMs), 0);
  });
});
