import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import {
  evenlySpacedIndices,
  histogramBuckets,
  movingMean,
  standardDeviation,
} from "../../src/tracking/statistics.ts";
import { addToScatter, EMPTY_SCATTER } from "../../src/tracking/scatter_window.ts";

const values = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { maxLength: 60 });

describe("histogramBuckets()", () => {
  it("counts every value once, in touching buckets from the least to the greatest", () => {
    fc.assert(fc.property(values, (list) => {
      const buckets = histogramBuckets(list);
      assert.equal(buckets.reduce((sum, bucket) => sum + bucket.count, 0), list.length);
      for (let i = 1; i < buckets.length; i++) assert.equal(buckets[i].left, buckets[i - 1].right);
    }));
  });

  it("puts the greatest value into the last bucket", () => {
    const counts = histogramBuckets([0, 1, 2, 2], 2).map(({ count }) => count);
    assert.deepEqual(counts, [1, 3]);
  });

  it("gives equal values one bucket, and no finite values none", () => {
    assert.deepEqual(histogramBuckets([3, 3]), [{ left: 2.5, right: 3.5, count: 2 }]);
    assert.deepEqual(histogramBuckets([NaN, Infinity]), []);
  });
});

describe("evenlySpacedIndices()", () => {
  it("gives min(count, total) different indices, in order, within the list", () => {
    fc.assert(fc.property(fc.nat(300), fc.nat(300), (total, count) => {
      const indices = evenlySpacedIndices(total, count);
      assert.equal(indices.length, Math.min(total, count));
      assert.equal(new Set(indices).size, indices.length);
      assert.ok(
        indices.every((index, i) => index >= 0 && index < total && (i === 0 || index > indices[i - 1])),
      );
    }));
  });
});

it("movingMean() leaves a constant as it is, and takes what there is at the ends", () => {
  assert.deepEqual(movingMean([2, 2, 2], 5), [2, 2, 2]);
  assert.deepEqual(movingMean([0, 3, 6], 1), [1.5, 3, 4.5]);
});

it("standardDeviation() divides by n - 1, and says nothing about no values", () => {
  assert.equal(standardDeviation([1, 3]), Math.sqrt(2));
  assert.equal(standardDeviation([7]), 0);
  assert.equal(standardDeviation([]), undefined);
});

describe("addToScatter()", () => {
  it("keeps every stride-th completion, at most maxPoints and more than half of that once it is full", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 30 }), (maxPoints, steps) => {
        let window = EMPTY_SCATTER;
        for (let step = 1; step <= steps; step++) {
          const ids = Array.from({ length: 7 }, (_, index) => (step - 1) * 7 + index);
          window = addToScatter(window, step, { rewards: ids, costs: ids }, maxPoints);
        }
        assert.equal(window.seen, 7 * steps);
        assert.deepEqual(window.rewards, Array.from(window.rewards, (_, index) => index * window.stride));
        assert.deepEqual(window.rewards, window.costs);
        assert.ok(window.rewards.length <= maxPoints);
        assert.ok(window.rewards.length >= Math.min(7 * steps, Math.floor((maxPoints + 1) / 2)));
      }),
    );
  });

  it("leaves out completions without a score, reward and cost together", () => {
    const window = addToScatter(EMPTY_SCATTER, 3, { rewards: [1, NaN, 3], costs: [1, 2, 3] }, 9);
    assert.deepEqual([window.rewards, window.costs, window.fromStep], [[1, 3], [1, 3], 3]);
  });
});
