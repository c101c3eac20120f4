import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import {
  backoffMs,
  ConnectionFault,
  parseRetryAfterMs,
  type RetryEvent,
  type RetryPolicy,
  sleep,
  withRetries,
} from "../../src/scorer/retry.ts";

/** A policy whose clock is a list of the delays it was asked for. */
function fakePolicy(changes: Partial<RetryPolicy> = {}) {
  const delays: number[] = [];
  const policy: RetryPolicy = {
    maxRetries: 4,
    baseDelayMs: 100,
    maxDelayMs: 500,
    random: () => 0.5,
    sleep: (delayMs) => {
      delays.push(delayMs);
      return Promise.resolve();
    },
    ...changes,
  };
  return { policy, delays };
}

const exhausted = (attempts: number, fault: ConnectionFault) =>
  new Error(`gave up after ${attempts}: ${fault.message}`);

describe("withRetries()", () => {
  it("waits half of 100, 200, 400, 500 (cap) ms with random = 0.5, then gives up", async () => {
    const events: RetryEvent[] = [];
    const { policy, delays } = fakePolicy({ onRetry: (event) => events.push(event) });
    let attempts = 0;
    const request = () => Promise.reject(new ConnectionFault(`fault ${++attempts}`));
    await assert.rejects(withRetries(request, policy, exhausted), { message: "gave up after 5: fault 5" });
    assert.deepEqual(delays, [50, 100, 200, 250]);
    assert.deepEqual(events.map((event) => [event.attempt, event.delayMs, event.error.message]), [
      [1, 50, "fault 1"],
      [2, 100, "fault 2"],
      [3, 200, "fault 3"],
      [4, 250, "fault 4"],
    ]);
  });

  it("returns the first success", async () => {
    const { policy, delays } = fakePolicy();
    let attempts = 0;
    const request = () =>
      ++attempts < 3 ? Promise.reject(new ConnectionFault("busy")) : Promise.resolve("scores");
    assert.equal(await withRetries(request, policy, exhausted), "scores");
    assert.equal(delays.length, 2);
  });

  it("tries once when the fault lasts, is of another kind, or maxRetries is 0", async () => {
    const { policy, delays } = fakePolicy();
    const lasting = () => Promise.reject(new ConnectionFault("no such host", { lasting: true }));
    await assert.rejects(withRetries(lasting, policy, exhausted), {
      message: "gave up after 1: no such host",
    });
    const bug = () => Promise.reject(new TypeError("bug"));
    await assert.rejects(withRetries(bug, policy, exhausted), { name: "TypeError", message: "bug" });
    const once = fakePolicy({ maxRetries: 0 });
    const busy = () => Promise.reject(new ConnectionFault("busy"));
    await assert.rejects(withRetries(busy, once.policy, exhausted), { message: "gave up after 1: busy" });
    assert.deepEqual([delays, once.delays], [[], []]);
  });

  it("an abort ends the wait at once, with its own reason", async () => {
    const controller = new AbortController();
    const { policy } = fakePolicy({ baseDelayMs: 60_000, maxDelayMs: 60_000, sleep });
    policy.onRetry = () => setTimeout(() => controller.abort(new Error("stopped")), 5);
    const request = () => Promise.reject(new ConnectionFault("busy"));
    await assert.rejects(withRetries(request, policy, exhausted, controller.signal), { message: "stopped" });
  });
});

describe("backoffMs()", () => {
  it("stays within 0 and min(cap, base * 2^(attempt-1)), or at Retry-After up to the cap", () => {
    const attempt = fc.integer({ min: 1, max: 2000 });
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    const asked = fc.double({ min: 0, max: 1e9, noNaN: true });
    fc.assert(fc.property(attempt, random, asked, (n, u, retryAfterMs) => {
      const { policy } = fakePolicy({ random: () => u });
      const delayMs = backoffMs(n, retryAfterMs, policy);
      assert.ok(delayMs >= Math.min(retryAfterMs, 500) && delayMs <= 500, `${delayMs} ms`);
      assert.ok(delayMs <= Math.max(retryAfterMs, 100 * 2 ** (n - 1)), `${delayMs} ms`);
    }));
  });

  it("spreads clients over the whole interval: random = 0 waits 0, random near 1 waits the ceiling", () => {
    assert.equal(backoffMs(3, 0, fakePolicy({ random: () => 0 }).policy), 0);
    assert.equal(backoffMs(3, 0, fakePolicy({ random: () => 0.99 }).policy), 396);
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
