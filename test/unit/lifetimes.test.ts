/** Tensors of a recorded plan that lie in the same memory. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import {
  type Lifetime,
  type SharedSlots,
  shareSlots,
  shareSlotsApart,
  sumOf,
} from "../../src/gpu/lifetimes.ts";

const lifetime = fc.record({
  sizeBytes: fc.integer({ min: 1, max: 9 }),
  first: fc.nat(40),
  length: fc.nat(12),
})
  .map(({ sizeBytes, first, length }): Lifetime => ({
    sizeBytes,
    first: first - 1,
    last: first - 1 + length,
  }));
const lifetimes = fc.array(lifetime, { maxLength: 60 });

/** Dispatches between any two tensors of one slot, at the least. */
function leastGap(tensors: readonly Lifetime[], { slotOf }: SharedSlots): number {
  let least = Infinity;
  tensors.forEach((a, i) =>
    tensors.forEach((b, j) => {
      if (i === j || slotOf[i] !== slotOf[j]) return;
      if (a.first <= b.first) least = Math.min(least, b.first - a.last);
    })
  );
  return least;
}

/** What lives at one time, at the most: no plan takes less. */
function mostAtOnce(tensors: readonly Lifetime[]): number {
  const at = (time: number) =>
    sumOf(
      tensors.filter(({ first, last }) => first <= time && time <= last).map(({ sizeBytes }) => sizeBytes),
    );
  return Math.max(0, ...tensors.map(({ first }) => at(first)));
}

describe("tensors of a plan", () => {
  it("share memory only where one is no more read when the other is first written", () => {
    fc.assert(fc.property(lifetimes, (tensors) => {
      const shared = shareSlots(tensors);
      assert.ok(leastGap(tensors, shared) >= 1);
      tensors.forEach(({ sizeBytes }, i) => assert.ok(shared.sizes[shared.slotOf[i]] >= sizeBytes));
      assert.deepEqual(shared.sizes, [...shared.sizes].sort((a, b) => b - a));
    }));
  });

  it("of one size take what lives at once and not a byte more", () => {
    fc.assert(fc.property(lifetimes, (tensors) => {
      const equal = tensors.map((each) => ({ ...each, sizeBytes: 4 }));
      assert.equal(sumOf(shareSlots(equal).sizes), mostAtOnce(equal));
    }));
  });

  it("of a smaller batch take no more than those of a larger", () => {
    fc.assert(fc.property(lifetimes, (tensors) => {
      const larger = tensors.map((each) => ({ ...each, sizeBytes: 3 * each.sizeBytes }));
      assert.equal(sumOf(shareSlots(larger).sizes), 3 * sumOf(shareSlots(tensors).sizes));
    }));
  });

  it("one of which is read after the plan keeps its memory to itself from its first use on", () => {
    const kept = { sizeBytes: 4, first: 2, last: Infinity };
    const { slotOf } = shareSlots([kept, { sizeBytes: 4, first: 0, last: 1 }, {
      sizeBytes: 4,
      first: 3,
      last: 3,
    }]);
    assert.equal(slotOf[0], slotOf[1]);
    assert.notEqual(slotOf[0], slotOf[2]);
  });

  it("rest between two uses where that takes no more memory than it may", () => {
    const rests = fc.record({
      dispatches: fc.nat(6),
      share: fc.constantFrom(0, 1 / 8, 1),
      bytes: fc.nat(20),
    });
    fc.assert(fc.property(lifetimes, rests, (tensors, rest) => {
      const [close, shared] = [shareSlots(tensors), shareSlotsApart(tensors, rest)];
      const most = sumOf(close.sizes) + Math.max(rest.bytes, rest.share * sumOf(close.sizes));
      assert.ok(sumOf(shared.sizes) <= most);
      if (leastGap(tensors, shared) > rest.dispatches) return;
      const apart = shareSlots(tensors.map((each) => ({ ...each, last: each.last + rest.dispatches })));
      assert.ok(sumOf(apart.sizes) > most, "it could have rested");
    }));
  });
});
