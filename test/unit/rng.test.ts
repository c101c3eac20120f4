import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import "../seeded_properties.ts";
import {
  mulHi,
  philox4x32,
  promptsOfGeneration,
  shuffledOrder,
  STREAM,
  uniform01,
  uniformWeights,
  type Words2,
  type Words4,
} from "../../src/rl/rng.ts";

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });

// "philox4x32 10" lines of tests/kat_vectors in Random123: counter, key, result.
const KNOWN_ANSWERS: ReadonlyArray<readonly [Words4, Words2, Words4]> = [
  [[0, 0, 0, 0], [0, 0], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
];

test("philox4x32() gives Random123's known answers", () => {
  for (const [counter, key, expected] of KNOWN_ANSWERS) {
    assert.deepEqual(philox4x32(counter, key), expected);
  }
});

test("mulHi() is the high word of the 64-bit product", () => {
  fc.assert(fc.property(u32, u32, (a, b) => {
    assert.equal(mulHi(a, b), Number((BigInt(a) * BigInt(b)) >> 32n));
  }));
  assert.equal(mulHi(0xffffffff, 0xffffffff), 0xfffffffe);
});

test("uniform01() has key (seed, step), counter (prompt, generation, position, stream), and f32 values", () => {
  const [x0] = philox4x32([3, 4, 5, 0], [1, 2]);
  assert.equal(uniform01(1, 2, { prompt: 3, generation: 4, position: 5 }), (x0 >>> 8) / 2 ** 24);
  fc.assert(fc.property(u32, u32, (seed, position) => {
    const u = uniform01(seed, 0, { prompt: 0, generation: 0, position });
    assert.ok(u >= 0 && u < 1 && Math.fround(u) === u);
  }));
});

test("uniform01() is uniform over positions", () => {
  const bins = new Array<number>(16).fill(0);
  for (let position = 0; position < 16_000; position++) {
    bins[Math.floor(uniform01(42, 7, { prompt: 0, generation: 0, position }) * 16)]!++;
  }
  const chiSquare = bins.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
  assert.ok(chiSquare < 37.7, `chi-square ${chiSquare}, 99.9% of 15 degrees of freedom is 37.7`);
});

test("shuffledOrder(, STREAM.shuffle) is a permutation that depends on seed and epoch alone", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 200 }), u32, u32, (count, seed, epoch) => {
    const order = shuffledOrder(count, seed, epoch, STREAM.shuffle);
    assert.deepEqual([...order].sort((a, b) => a - b), Array.from({ length: count }, (_, i) => i));
    assert.deepEqual(shuffledOrder(count, seed, epoch, STREAM.shuffle), order);
  }));
  assert.notDeepEqual(shuffledOrder(50, 1, 0, STREAM.shuffle), shuffledOrder(50, 2, 0, STREAM.shuffle));
  assert.notDeepEqual(shuffledOrder(50, 1, 0, STREAM.shuffle), shuffledOrder(50, 1, 1, STREAM.shuffle));
});

test("promptsOfGeneration() visits every prompt once an epoch, across step borders", () => {
  // 7 prompts, 3 a step: steps 0 to 6 are 21 slots, three whole epochs.
  const order = { promptCount: 7, promptsPerGeneration: 3, seed: 5 };
  const visited = [0, 1, 2, 3, 4, 5, 6].flatMap((step) => promptsOfGeneration(step, order));
  for (let epoch = 0; epoch < 3; epoch++) {
    assert.deepEqual(visited.slice(7 * epoch, 7 * epoch + 7), [
      ...shuffledOrder(7, 5, epoch, STREAM.shuffle),
    ]);
  }
  assert.throws(() => promptsOfGeneration(0, { ...order, promptCount: 0 }), RangeError);
});

test("uniformWeights() takes each element from its own word: a shorter weight begins with the same values", () => {
  fc.assert(
    fc.property(
      u32,
      fc.integer({ min: 0, max: 99 }),
      fc.integer({ min: 1, max: 41 }),
      (seed, weight, count) => {
        const values = uniformWeights(count, 0.25, seed, weight);
        assert.ok(values.every((value) => value >= -0.25 && value < 0.25));
        assert.deepEqual(uniformWeights(43, 0.25, seed, weight).slice(0, count), values);
        const words = philox4x32([Math.floor((count - 1) / 4), 0, weight, STREAM.adapter], [seed, 0]);
        assert.equal(values[count - 1], ((words[(count - 1) % 4]! >>> 8) * 2 ** -23 - 1) * 0.25);
      },
    ),
  );
});

test("shuffledOrder() is Fisher-Yates with draw i from key (seed, round) and counter (i, 0, 0, stream)", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 40 }), u32, u32, fc.nat(3), (count, seed, round, stream) => {
      const order = Array.from({ length: count }, (_, i) => i);
      for (let i = count - 1; i >= 1; i--) {
        const [word] = philox4x32([i, 0, 0, stream], [seed, round]);
        const j = Number(BigInt(word) * BigInt(i + 1) / 2n ** 32n);
        [order[i], order[j]] = [order[j]!, order[i]!];
      }
      assert.deepEqual([...shuffledOrder(count, seed, round, stream)], order);
    }),
  );
});

test("each purpose draws from a stream of its own", () => {
  assert.equal(new Set(Object.values(STREAM)).size, Object.keys(STREAM).length);
  assert.notDeepEqual(shuffledOrder(50, 1, 0, STREAM.shuffle), shuffledOrder(50, 1, 0, STREAM.minibatch));
  const [x0] = philox4x32([3, 4, 5, 2], [1, 2]);
  assert.equal(uniform01(1, 2, { prompt: 3, generation: 4, position: 5, stream: 2 }), (x0 >>> 8) / 2 ** 24);
});

test("one prompt is enough: it is every prompt of every generation batch", () => {
  assert.deepEqual(promptsOfGeneration(3, { promptCount: 1, promptsPerGeneration: 2, seed: 5 }), [0, 0]);
});

test("a generation batch larger than an epoch goes through the prompts more than once", () => {
  const order = { promptCount: 3, promptsPerGeneration: 7, seed: 5 };
  const expected = [0, 1, 2, 3, 4].flatMap((epoch) => [...shuffledOrder(3, 5, epoch, STREAM.shuffle)]);
  assert.deepEqual([0, 1].flatMap((batch) => promptsOfGeneration(batch, order)), expected.slice(0, 14));
});
