import assert from "node:assert/strict";
import { test } from "node:test";
import { baselineFile, comparisonTable, readBaseline, toBaseline, verdict } from "../../bench/baseline.ts";
import { curvesText } from "../../bench/curves.ts";
import { fitLine } from "../../bench/fit.ts";
import { relativeError } from "../../bench/correctness.ts";
import { copiesFor, ROTATED_BYTES } from "../../bench/rotation.ts";
import type { BenchReport } from "../../bench/op_table.ts";

const timing = (seconds: number, spread: number | null = 0.05) => ({
  seconds,
  fastestSeconds: seconds,
  spread,
  samples: 5,
  runsPerSample: 1,
});

function report(date: string, seconds: Record<string, number>): BenchReport {
  return {
    device: "NVIDIA H100 (80 GB)",
    driver: "a driver",
    runtime: "node 20.1.0",
    date,
    ceilings: { copyGBps: 10, fmaGflops: 100, matrixGflops: null },
    peers: [],
    skipped: [],
    ops: Object.entries(seconds).map(([name, own]) => ({
      op: "add",
      name,
      kernels: { ...timing(own), source: "gpu timestamps", dispatches: 1 },
      forward: timing(own),
      forwardBackward: null,
      plainForward: null,
      peers: {},
      flops: null,
      bytes: null,
      copies: 1,
      rotatedBytes: 1,
    })),
  };
}

test("a baseline's file is named after device and runtime, whatever signs they hold", () => {
  assert.ok(baselineFile(report("", {})).pathname.endsWith("/bench/baselines/nvidia-h100-80-gb-node.json"));
  assert.throws(() => readBaseline("no such file"), /No baseline at no such file.*--save/);
});

test("verdict() calls a change noise up to both spreads together, and names it beyond", () => {
  const sample = (seconds: number, spread: number | null) => ({ seconds, spread });
  assert.equal(verdict(sample(1, 0.05), sample(1.05, 0.05)), "within noise (0.952x, +-10%)");
  assert.equal(verdict(sample(1, 0.05), sample(1.2, 0.05)), "1.20x slower");
  assert.equal(verdict(sample(1, 0.05), sample(0.5, 0.05)), "2.00x faster");
  assert.match(verdict(sample(1, 0.05), sample(1.2, 0.05), 0.5), /within noise .*60%/);
  assert.match(verdict(sample(1, null), sample(1.4, null)), /within noise/);
});

test("toBaseline() keeps the cases that were not run, and comparisonTable() says what is new, faster and noise", () => {
  const before = toBaseline(report("2030-01-01", { a: 1, b: 1, c: 1 }), null);
  const now = report("2030-01-02", { a: 0.5, b: 1.01, d: 1 });
  const table = comparisonTable(now, before);
  assert.match(table, /against 2030-01-01/);
  assert.match(table, /\na .*2\.00x faster/);
  assert.match(table, /\nb .*within noise/);
  assert.match(table, /\nd .*new/);
  const merged = toBaseline(now, before);
  assert.deepEqual(Object.keys(merged.cases), ["a", "b", "c", "d"]);
  assert.equal(merged.cases.a.kernels.seconds, 0.5);
  assert.equal(merged.cases.c.kernels.seconds, 1);
});

test("copiesFor() leaves the caches where a case is not too small, in bounded memory", () => {
  assert.equal(copiesFor(ROTATED_BYTES / 3), 3);
  assert.equal(copiesFor(10 * ROTATED_BYTES), 1);
  assert.equal(copiesFor(4), copiesFor(8));
});

test("relativeError() is over the largest expected value, and NaN is never right", () => {
  assert.equal(relativeError([1, 2.5], [1, 2]), 0.25);
  assert.equal(relativeError([0], [0]), 0);
  assert.ok(!(relativeError([NaN, 1], [1, 1]) <= 1));
});

test("fitLine() finds the line, its R^2 and the residuals; a single x is an error", () => {
  const exact = fitLine([1, 2, 4], [5, 7, 11]);
  assert.ok(Math.abs(exact.slope - 2) < 1e-12 && Math.abs(exact.intercept - 3) < 1e-12);
  assert.ok(Math.abs(exact.r2 - 1) < 1e-12);
  // y = 0, 1, 0 at x = 0, 1, 2: the best line is level at 1/3 and explains nothing.
  const level = fitLine([0, 1, 2], [0, 1, 0]);
  assert.ok(Math.abs(level.slope) < 1e-12 && Math.abs(level.r2) < 1e-12);
  assert.ok(Math.abs(level.residuals[1] - 2 / 3) < 1e-12);
  assert.throws(() => fitLine([1, 1], [1, 2]), RangeError);
  const points = [{ x: 1, seconds: 0.005 }, { x: 2, seconds: 0.007 }, { x: 4, seconds: 0.011 }];
  const line = fitLine([1, 2, 4], [0.005, 0.007, 0.011]);
  const text = curvesText("a GPU", [{ name: "rows", points, line }]);
  assert.match(text, /ms = 3\.00 \+ 2\.00 x, R\^2 1\.0000/);
});
