import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type Communicator,
  type NumberArray,
  shareOf,
  singleProcess,
} from "../../src/parallel/communicator.ts";
import { gatherNumbers, gatherParts, gatherTexts } from "../../src/parallel/gather.ts";
import { inProcessRanks } from "../../src/parallel/in_process.ts";
import { fromBfloat16, toBfloat16 } from "../../src/parallel/wire.ts";

/** Runs `body` as every rank of `size`. */
const asRanks = <R>(size: number, body: (communicator: Communicator) => Promise<R>): Promise<R[]> =>
  Promise.all(inProcessRanks(size).map(body));

/** What each rank's call ended with: its error's message, or null. */
async function endsOf(size: number, body: (communicator: Communicator) => Promise<unknown>) {
  const settled = await Promise.allSettled(inProcessRanks(size).map(body));
  return settled.map((end) => end.status === "rejected" ? (end.reason as Error).message : null);
}

it("one process is the first of one: what it gives is left as it is", async () => {
  const { rank, size } = singleProcess;
  assert.deepEqual([rank, size], [0, 1]);
  const values = Float64Array.of(1, -2, 0.5);
  await singleProcess.allReduceSum(values);
  await singleProcess.allReduceMax(values);
  await singleProcess.reduceScatterSum(values);
  await singleProcess.allGather(values);
  await singleProcess.broadcast(values, 0);
  await singleProcess.barrier();
  singleProcess.leave();
  assert.deepEqual([...values], [1, -2, 0.5]);
});

describe("shareOf()", () => {
  it("covers all values once, in rank order; the first ranks have what is over", () => {
    const sharesOf = (length: number, size: number) =>
      Array.from({ length: size }, (_, rank) => shareOf(length, rank, size));
    assert.deepEqual(sharesOf(7, 3), [{ start: 0, end: 3 }, { start: 3, end: 5 }, { start: 5, end: 7 }]);
    assert.deepEqual(sharesOf(2, 3), [{ start: 0, end: 1 }, { start: 1, end: 2 }, { start: 2, end: 2 }]);
    for (const size of [1, 2, 3, 5]) {
      for (let length = 0; length <= 2 * size + 1; length++) {
        const shares = sharesOf(length, size);
        assert.deepEqual(shares.map(({ start }) => start), [0, ...shares.slice(0, -1).map(({ end }) => end)]);
        assert.equal(shares.at(-1)!.end, length);
        const sizes = shares.map(({ start, end }) => end - start);
        assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
      }
    }
  });
});

const KINDS = [Float32Array, Float64Array, Int32Array] as const;
type Kind = (typeof KINDS)[number];

/** Rank r gives 100 r + i + 1; in floats with a tenth, which rounds. */
function givenBy(kind: Kind, rank: number, length: number): NumberArray {
  const values: NumberArray = new kind(length);
  for (let i = 0; i < length; i++) values[i] = 100 * rank + i + (kind === Int32Array ? 1 : 1.1);
  return values;
}

for (const size of [1, 2, 3, 5]) {
  describe(`collectives of ${size} rank${size === 1 ? "" : "s"}`, () => {
    for (const kind of KINDS) {
      for (const length of [0, 1, 4, 7]) {
        const given = Array.from({ length: size }, (_, rank) => givenBy(kind, rank, length));
        const sums = given[0].slice();
        for (const values of given.slice(1)) for (let i = 0; i < length; i++) sums[i] += values[i];
        const after = (run: (communicator: Communicator, values: NumberArray) => Promise<void>) =>
          asRanks(size, async (communicator) => {
            const values = given[communicator.rank].slice();
            await run(communicator, values);
            return values;
          });
        it(`${kind.name} of ${length}: sum, maximum, shares and broadcast`, async () => {
          const everywhere = (values: NumberArray) => Array.from({ length: size }, () => values);
          assert.deepEqual(await after((c, values) => c.allReduceSum(values)), everywhere(sums));
          assert.deepEqual(await after((c, values) => c.allReduceMax(values)), everywhere(given[size - 1]));
          for (let root = 0; root < size; root++) {
            assert.deepEqual(await after((c, values) => c.broadcast(values, root)), everywhere(given[root]));
          }
          const rankOf = (i: number) => given.findIndex((_, rank) => i < shareOf(length, rank, size).end);
          assert.deepEqual(
            await after((c, values) => c.allGather(values)),
            everywhere(sums.map((_, i) => given[rankOf(i)][i])),
          );
          assert.deepEqual(
            await after((c, values) => c.reduceScatterSum(values)),
            given.map((own, rank) => own.map((value, i) => rankOf(i) === rank ? sums[i] : value)),
          );
        });
      }
    }

    it("a barrier opens when the last rank has come", async () => {
      const come: number[] = [];
      await asRanks(size, async (communicator) => {
        for (let turn = 0; turn < 3 * communicator.rank; turn++) await Promise.resolve();
        come.push(communicator.rank);
        await communicator.barrier();
        assert.equal(come.length, size);
      });
    });

    it("lists and texts of all ranks are laid end to end", async () => {
      const numbers = Array.from({ length: size }, (_, rank) => [rank, rank / 3]).flat();
      assert.deepEqual(
        await asRanks(size, (c) => gatherNumbers(c, [c.rank, c.rank / 3])),
        Array.from({ length: size }, () => numbers),
      );
      const floats = await asRanks(size, (c) => gatherParts(c, Float32Array.of(c.rank / 3)));
      assert.deepEqual(floats[0], Float32Array.from({ length: size }, (_, rank) => rank / 3));
      const textsOf = (rank: number) =>
        Array.from({ length: rank + 1 }, (_, i) => `${rank} \ud83d\ude00 "é" ${i}`);
      const texts = await asRanks(size, (c) => gatherTexts(c, c.rank === 1 ? [] : textsOf(c.rank)));
      const expected = Array.from({ length: size }, (_, rank) => rank === 1 ? [] : textsOf(rank)).flat();
      for (const gathered of texts) assert.deepEqual(gathered, expected);
    });
  });
}

describe("sums", () => {
  it("are taken in rank order whoever comes first, and rounded at every rank", async () => {
    // In f32: (1 + 2^-24) + 2^-24 = 1, where 1 + (2^-24 + 2^-24) > 1.
    const parts = [1, 2 ** -24, 2 ** -24];
    for (const order of [[0, 1, 2], [2, 1, 0], [1, 2, 0]]) {
      const ranks = inProcessRanks(3);
      const sums = await Promise.all(order.map(async (rank) => {
        const values = Float32Array.of(parts[rank]);
        await ranks[rank].allReduceSum(values);
        return values[0];
      }));
      assert.deepEqual(sums, [1, 1, 1]);
    }
  });

  it("by bfloat16 are f32 sums of what every rank rounded, its own too", async () => {
    // 1 + 2^-8 lies between two bfloat16 and goes to the even one, 1; 1 + 3 * 2^-8 to 1 + 2^-6.
    const parts = [[1 + 2 ** -8, 3, -0], [1 + 3 * 2 ** -8, -1e30, 2 ** -20]];
    const sums = await asRanks(2, async (communicator) => {
      const values = Float32Array.from(parts[communicator.rank]);
      await communicator.reduceScatterSum(values, "bfloat16");
      return [...values];
    });
    const [, [, big, small]] = parts.map((part) => [...fromBfloat16(toBfloat16(Float32Array.from(part)))]);
    assert.equal(small, 2 ** -20);
    assert.ok(Math.abs(big + 1e30) > 0 && Math.abs(big / -1e30 - 1) < 2 ** -8);
    assert.deepEqual(sums[0], [2 + 2 ** -6, Math.fround(3 + big), -0]);
    assert.deepEqual(sums[1][2], 2 ** -20);
    for (const message of await endsOf(2, (c) => c.reduceScatterSum(Int32Array.of(1), "bfloat16"))) {
      assert.match(message!, /Cannot send Int32Array of 1 values in bfloat16: need float32 values/);
    }
  });

  it("bfloat16 keeps what is no number and what has no end", () => {
    const values = Float32Array.of(NaN, Infinity, -Infinity, 3.4e38, -0, 1e-40);
    const kept = [...fromBfloat16(toBfloat16(values))];
    assert.deepEqual(kept.slice(0, 5), [NaN, Infinity, -Infinity, Infinity, -0]);
    const lowNan = new Float32Array(Uint32Array.of(0x7f800001).buffer);
    assert.deepEqual([...fromBfloat16(toBfloat16(lowNan))], [NaN]);
  });

  it("NaN is the maximum of any rank's NaN", async () => {
    const maxima = await asRanks(2, async (communicator) => {
      const values = Float64Array.of(communicator.rank === 0 ? NaN : 3);
      await communicator.allReduceMax(values);
      return values[0];
    });
    assert.deepEqual(maxima, [NaN, NaN]);
  });

  it("one collective follows another, also where a rank is ahead", async () => {
    const results = await asRanks(3, async (communicator) => {
      const [first, second] = [Int32Array.of(1), Int32Array.of(10)];
      await Promise.all([communicator.allReduceSum(first), communicator.allReduceSum(second)]);
      return [first[0], second[0]];
    });
    assert.deepEqual(results, [[3, 30], [3, 30], [3, 30]]);
  });
});

describe("ranks that do not do the same", () => {
  const MISMATCHES: [
    string,
    (communicator: Communicator) => Promise<void>,
    (communicator: Communicator) => Promise<void>,
    RegExp,
  ][] = [
    [
      "another collective",
      (c) => c.allReduceSum(Float32Array.of(1)),
      (c) => c.barrier(),
      /rank 0 calls allReduceSum with Float32Array of 1 values, rank 1 calls barrier/,
    ],
    [
      "another length",
      (c) => c.allGather(Int32Array.of(1)),
      (c) => c.allGather(Int32Array.of(1, 2)),
      /allGather with Int32Array of 1 values, rank 1 calls allGather with Int32Array of 2 values/,
    ],
    [
      "another kind",
      (c) => c.allReduceMax(Float32Array.of(1)),
      (c) => c.allReduceMax(Float64Array.of(1)),
      /allReduceMax with Float32Array of 1 values, rank 1 calls allReduceMax with Float64Array/,
    ],
    [
      "another root",
      (c) => c.broadcast(Float32Array.of(1), 0),
      (c) => c.broadcast(Float32Array.of(1), 1),
      /rank 0 calls broadcast from rank 0 with .*, rank 1 calls broadcast from rank 1/,
    ],
  ];
  for (const [what, first, second, found] of MISMATCHES) {
    it(`${what}: all of them fail, with both named, and in all that follows`, async () => {
      const ends = await endsOf(3, async (communicator) => {
        await communicator.barrier();
        await (communicator.rank === 1 ? second : first)(communicator);
      });
      for (const message of ends) assert.match(message!, found);
      assert.match(
        ends[2]!,
        /for their collective 2 .*every rank must make the same calls in the same order/,
      );
    });
  }

  it("one that fails or leaves takes with it those that wait, and those that come later", async () => {
    const ends = await endsOf(3, async (communicator) => {
      if (communicator.rank === 1) {
        communicator.leave(new Error("the scorer is gone"));
        return;
      }
      if (communicator.rank === 2) await new Promise((resolve) => setTimeout(resolve, 5));
      await communicator.barrier();
    });
    const gone = "Rank 1 has left the run, and no other can go on without it: the scorer is gone";
    assert.deepEqual(ends, [gone, null, gone]);
    const [one, other] = inProcessRanks(2);
    one.leave();
    await assert.rejects(other.allReduceSum(Int32Array.of(1)), {
      message: "Rank 0 has left the run, and no other can go on without it",
    });
  });

  it("a root or a number of ranks that there cannot be is refused", async () => {
    for (const message of await endsOf(2, (c) => c.broadcast(Int32Array.of(1), 2))) {
      assert.equal(message, "Cannot broadcast from rank 2: need a rank from 0 to 1");
    }
    for (const size of [0, 1.5, NaN]) {
      assert.throws(() => inProcessRanks(size), /need a whole number, 1 or more/);
    }
  });
});
