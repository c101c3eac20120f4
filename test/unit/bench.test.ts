import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import "../seeded_properties.ts";
import { measure, quantile, summarize } from "../../bench/measure.ts";
import { type OpTiming, unfitReason } from "../../bench/op_timing.ts";
import { benchmarksOf } from "../../bench/op_bench.ts";
import { benchTable, speedOf, speedup } from "../../bench/op_table.ts";
import { alignColumns, threeDigits } from "../../bench/table.ts";
import { caseSuites } from "../cases/suites.ts";

const CEILINGS = { copyGBps: 10, fmaGflops: 100, matrixGflops: null };
const timing = (seconds: number) => ({
  seconds,
  fastestSeconds: seconds,
  spread: 0.05,
  samples: 5,
  runsPerSample: 1,
});

function opTiming(work: { flops?: number; bytes?: number }): OpTiming {
  return {
    op: "add",
    name: "add 2x2",
    kernels: { ...timing(0.001), source: "gpu timestamps", dispatches: 1 },
    forward: timing(0.002),
    forwardBackward: null,
    plainForward: timing(0.005),
    flops: work.flops ?? null,
    bytes: work.bytes ?? null,
    peers: { "a peer": timing(0.004) },
    copies: 4,
    rotatedBytes: 2 ** 22,
  };
}

/** Work that takes `seconds` a run on a clock of its own, and notes how often it was asked to run. */
function fakeWork(seconds: number) {
  const calls: number[] = [];
  const work = (times: number) => {
    calls.push(times);
    return Promise.resolve(times * seconds);
  };
  return { calls, work };
}

test("quantile() interpolates between neighbours: the median of 1, 2, 4, 8 is 3", () => {
  assert.equal(quantile([8, 1, 4, 2], 0.5), 3);
  assert.equal(quantile([8, 1, 4, 2], 0), 1);
  assert.equal(quantile([8, 1, 4, 2], 1), 8);
  assert.throws(() => quantile([], 0.5), RangeError);
});

test("quantile() lies between the extremes, whatever the values and their order", () => {
  const values = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 20 });
  fc.assert(fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (list, q) => {
    const found = quantile(list, q);
    assert.ok(found >= Math.min(...list) && found <= Math.max(...list));
    assert.equal(quantile([...list].reverse(), q), found);
  }));
});

test("summarize() gives the median per run and half the interquartile range over the median", () => {
  // Quartiles of 8, 9, 10, 11, 12 are 9 and 11: (11 - 9) / 2 / 10.
  assert.deepEqual(summarize([12, 8, 10, 11, 9], 10), {
    seconds: 1,
    fastestSeconds: 0.8,
    spread: 0.1,
    samples: 5,
    runsPerSample: 10,
  });
  assert.equal(summarize([1, 2], 1).spread, null);
});

test("measure() fills a sample with as many runs as it takes, after warming up", async () => {
  const { calls, work } = fakeWork(0.001);
  const measured = await measure(work, { repeats: 3, sampleSeconds: 0.01, budgetSeconds: 1 });
  assert.deepEqual(calls, [1, 1, 1, 10, 10, 10]);
  assert.equal(measured.samples, 3);
  assert.ok(Math.abs(measured.seconds - 0.001) < 1e-12);
});

test("measure() stops at its budget, and a warm-up of many seconds is the one sample", async () => {
  const slow = fakeWork(0.6);
  const measured = await measure(slow.work, { repeats: 9, sampleSeconds: 0.1, budgetSeconds: 1 });
  assert.deepEqual(slow.calls, [1, 1, 1]);
  assert.equal(measured.samples, 2);
  const slowest = fakeWork(30);
  assert.equal(
    (await measure(slowest.work, { repeats: 9, sampleSeconds: 0.1, budgetSeconds: 1 })).samples,
    1,
  );
  assert.deepEqual(slowest.calls, [1]);
});

test("measure() does not warm up what is warm", async () => {
  const { calls, work } = fakeWork(0.01);
  await measure(work, { repeats: 2, sampleSeconds: 0.02, budgetSeconds: 1, isWarm: true });
  assert.deepEqual(calls, [1, 1, 2, 2]);
});

test("speedOf() takes the ceiling that is nearer", () => {
  // 1 ms: 5e6 bytes are 5 GB/s of 10; 2e7 FLOP are 20 GFLOP/s of 100.
  assert.deepEqual(speedOf(opTiming({ flops: 2e7, bytes: 5e6 }), CEILINGS), {
    gflops: 20,
    gbps: 5,
    share: 0.5,
    bound: "copy",
  });
  assert.equal(speedOf(opTiming({ flops: 9e7, bytes: 5e6 }), CEILINGS).bound, "fma");
  assert.deepEqual(speedOf(opTiming({}), CEILINGS), { gflops: null, gbps: null, share: null, bound: null });
});

test("speedup() is plain tfjs over ours, by the same clock", () => {
  assert.equal(speedup(opTiming({})), 2.5);
  assert.equal(speedup({ forward: timing(1), plainForward: null }), null);
});

test("threeDigits() never writes an exponent", () => {
  assert.deepEqual([0, 0.0123456, 0.5, 12.34, 999.6, 123456].map(threeDigits), [
    "0",
    "0.0123",
    "0.500",
    "12.3",
    "1000",
    "123456",
  ]);
});

test("the table names device, runtime and date, has aligned columns, and says what was not run and why", () => {
  const text = benchTable({
    device: "a GPU",
    driver: "a driver",
    runtime: "node 20",
    date: "2030-01-02",
    ceilings: CEILINGS,
    ops: [opTiming({ bytes: 5e6 })],
    peers: ["a peer"],
    skipped: [{ name: "add huge", reason: "too large" }],
  });
  assert.ok(text.startsWith("a GPU (a driver), node 20, 2030-01-02\n"));
  assert.match(
    text,
    /add 2x2 +1000 +5% +- +5\.00 +50\.0% copy +2000 +5% +- +5000 +2\.50x +4000 +2\.00x +4 x 1\.00\*\n/,
  );
  assert.match(text, /add huge: not run, too large/);
  assert.equal(alignColumns([["a", "b"], ["long", "12"]]), "a      b\nlong  12");
});

test("unfitReason() names the input that is over the binding limit, by its stored format", () => {
  const values = new Float64Array();
  assert.equal(unfitReason({ x: { shape: [4, 8], values } }, 128), null);
  assert.match(unfitReason({ x: { shape: [4, 9], values } }, 128)!, /input x has 144 bytes.* 128/);
  assert.equal(unfitReason({ w: { shape: [4, 16], values, weight: "bf16" } }, 128), null);
});

test("every op has at least two benchmark cases, and an unknown op is an error that lists the ops", async () => {
  const counts = (await caseSuites()).map(({ op, cases }) => ({ op, count: benchmarksOf(cases).length }));
  const timed = counts.filter(({ count }) => count > 0);
  assert.ok(timed.length > 10);
  assert.deepEqual(timed.filter(({ count }) => count < 2), []);
  await assert.rejects(caseSuites("no_such_op"), /"no_such_op".*rms_norm/);
});
