import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import { bucketRows, packSequences } from "../../src/policy/packing.ts";

test("bucketRows() rounds up by at most an eighth, in steps of 64 where there are few rows, to few sizes", () => {
  const rounded = [0, 1, 64, 65, 512, 1023, 1024, 1025, 1152, 1153].map(bucketRows);
  assert.deepEqual(rounded, [0, 64, 64, 128, 512, 1024, 1024, 1152, 1152, 1280]);
  assert.equal(new Set(Array.from({ length: 10_000 }, (_, rows) => bucketRows(rows + 1))).size, 42);
  fc.assert(fc.property(fc.integer({ min: 1, max: 1e6 }), (rows) => {
    const bucket = bucketRows(rows);
    assert.ok(bucket >= rows && bucket - rows < Math.max(64, rows / 8), `${rows} in ${bucket}`);
    assert.equal(bucketRows(bucket), bucket);
  }));
});

test("packSequences() lays sequences end to end: ids, places, own bounds, and spare rows that see themselves", () => {
  const { ids, positions, bounds, starts } = packSequences([[5, 6], [], [7, 8, 9]], [10, 0, 20]);
  assert.deepEqual(starts, [0, 2, 2, 5]);
  assert.equal(ids.length, 64);
  assert.deepEqual([...ids.slice(0, 6)], [5, 6, 7, 8, 9, 0]);
  assert.deepEqual([...positions.slice(0, 6)], [10, 11, 20, 21, 22, 0]);
  assert.deepEqual([...bounds.slice(0, 14)], [0, 2, 0, 2, 2, 5, 2, 5, 2, 5, 5, 6, 6, 7]);
  assert.deepEqual([...bounds.slice(-2)], [63, 64]);
});

test("without first positions every sequence begins at 0, and sequences that fill a bucket leave no spare row", () => {
  const sequences = [Array<number>(40).fill(1), Array<number>(24).fill(2)];
  const { positions, bounds, starts } = packSequences(sequences);
  assert.deepEqual([starts, bounds.length], [[0, 40, 64], 128]);
  assert.deepEqual([positions[39], positions[40], positions[63]], [39, 0, 23]);
  assert.deepEqual([...bounds.slice(-2)], [40, 64]);
});
