/** Cutting common beginnings off sequences. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { packSequences } from "../../src/policy/packing.ts";
import { cutCommonBeginnings, packRests } from "../../src/policy/shared_prefix.ts";

/** Few different tokens, so that sequences often begin alike. */
const sequences = fc.array(fc.array(fc.integer({ min: 1, max: 2 }), { minLength: 1, maxLength: 12 }), {
  minLength: 1,
  maxLength: 12,
});

describe("cutCommonBeginnings()", () => {
  it("beginning and rest make the sequence again, and no rest is empty", () => {
    fc.assert(fc.property(sequences, (given) => {
      const cut = cutCommonBeginnings(given);
      if (!cut) return;
      given.forEach((tokens, s) => {
        assert.ok(cut.rests[s].length > 0);
        assert.deepEqual([...Array.from(cut.prefixes[cut.prefixOf[s]]), ...Array.from(cut.rests[s])], tokens);
      });
    }));
  });

  it("groups of completions share their prompts, though all prompts begin alike", () => {
    const template = [9, 8, 7];
    const prompts = [[...template, 1, 2, 3, 4], [...template, 5, 6, 6, 5]];
    const cut = cutCommonBeginnings(
      prompts.flatMap((prompt) => [[...prompt, 11], [...prompt, 12], [...prompt, 13]]),
    )!;
    assert.deepEqual(cut.prefixes, prompts);
    assert.deepEqual(cut.prefixOf, [0, 0, 0, 1, 1, 1]);
  });

  it("is not worth it where little is common", () => {
    assert.equal(cutCommonBeginnings([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [1, 20, 21, 22, 23]]), null);
    assert.equal(cutCommonBeginnings([[1, 2, 3]]), null);
  });
});

describe("packRests()", () => {
  it("tells each token which beginning it sees, and each beginning who sees it", () => {
    const prefixes = packSequences([[1, 2, 3], [], [4, 5]]);
    const packed = packRests([[6], [7, 8], [9], [10, 11]], [0, 0, 1, 2], prefixes);
    assert.deepEqual([...packed.ranges.slice(0, 12)], [0, 3, 0, 3, 0, 3, 3, 3, 3, 5, 3, 5]);
    assert.deepEqual([...packed.readers.slice(0, 10)], [0, 3, 0, 3, 0, 3, 4, 6, 4, 6]);
    assert.deepEqual([...packed.positions.slice(0, 6)], [3, 3, 4, 0, 2, 3]);
    assert.ok(packed.readers.slice(10).every((row) => row === 0), "nobody sees the spare rows");
  });

  it("refuses sequences of one beginning that stand apart", () => {
    const prefixes = packSequences([[1, 2], [3]]);
    assert.throws(() => packRests([[4], [5], [6]], [0, 1, 0], prefixes), /must stand together/);
  });
});
