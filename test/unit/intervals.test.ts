/** Intervals of shares and means, paired comparisons and Elo: against other programs' numbers, or by hand. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { exactInterval } from "../../src/rl/binomial.ts";
import { bootstrap, bootstrapMeans } from "../../src/rl/bootstrap.ts";
import { eloAgainstBase, rateGames } from "../../src/rl/elo.ts";
import { comparePairs, lengthControlledMean, slopePerWord } from "../../src/rl/paired.ts";

const near = (found: number, wanted: number, bound: number, what: string) =>
  assert.ok(Math.abs(found - wanted) <= bound, `${what}: ${found}, not ${wanted}`);

describe("the exact interval of a share", () => {
  it("is what scipy's beta quantiles give", () => {
    const known: [count: number, total: number, low: number, high: number][] = [
      [0, 10, 0, 0.3084971078187607],
      [5, 10, 0.18708602844739855, 0.8129139715526015],
      [10, 10, 0.6915028921812392, 1],
      [36, 3036, 0.008318433373533439, 0.01637860112637763],
      [1799, 3036, 0.5748308368539344, 0.6101025691742821],
    ];
    for (const [count, total, low, high] of known) {
      const found = exactInterval(count, total);
      near(found[0], low, 1e-12, `low end of ${count} of ${total}`);
      near(found[1], high, 1e-12, `high end of ${count} of ${total}`);
    }
    near(exactInterval(1, 1, 0.9)[0], 0.05, 1e-12, "one of one, at 90 %");
  });

  it("refuses what is no count", () => {
    for (const [count, total] of [[-1, 3], [4, 3], [1.5, 3], [0, 0], [NaN, 3]]) {
      assert.throws(() => exactInterval(count, total), /need 0 <= count <= total/);
    }
  });
});

describe("the bootstrap", () => {
  const values = Float64Array.from({ length: 400 }, (_, i) => (i * 7919) % 400);

  it("gives the interval of a mean that its standard error does, and the same one for a seed", () => {
    const [[low, high]] = bootstrapMeans([values], { seed: 1 });
    const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - 199.5) ** 2, 0) / 400);
    near((low + high) / 2, 199.5, 1, "the middle");
    near(high - low, 2 * 1.96 * deviation / 20, 1.5, "the width");
    assert.deepEqual(bootstrapMeans([values], { seed: 1 }), [[low, high]]);
    assert.notDeepEqual(bootstrapMeans([values], { seed: 2 }), [[low, high]]);
  });

  it("draws all lists of a call alike: what belongs together stays so", () => {
    const [own, shifted] = bootstrapMeans([values, values.map((value) => value + 5)], { seed: 3 });
    near(shifted[0] - own[0], 5, 1e-9, "shift of the low end");
    near(shifted[1] - own[1], 5, 1e-9, "shift of the high end");
  });

  it("draws each member about as often as any other, none beyond the last", () => {
    const counts = new Uint32Array(7);
    bootstrap(7, (places) => {
      for (const place of places) counts[place]++;
      return [0];
    }, { seed: 5, resamples: 3000 });
    assert.equal(counts.reduce((sum, count) => sum + count, 0), 21_000);
    for (const count of counts) near(count, 3000, 250, "draws of a member");
  });
});

describe("two models over the same prompts", () => {
  it("counts wins, ties and losses; of costs the lower one wins", () => {
    const options = { seed: 1, resamples: 200 };
    const rewards = comparePairs([3, 1, 2, 2], [1, 2, 2, 1], false, options);
    const { wins, ties, losses, rate } = rewards.win_rate;
    assert.deepEqual({ wins, ties, losses, rate }, { wins: 2, ties: 1, losses: 1, rate: 0.625 });
    assert.equal(rewards.difference, 0.5);
    const costs = comparePairs([3, 1, 2, 2], [1, 2, 2, 1], true, options).win_rate;
    assert.deepEqual([costs.wins, costs.losses], [1, 2]);
    const [low, high] = rewards.difference_interval;
    assert.ok(low < 0.5 && high > 0.5, `${low} to ${high}`);
  });

  it("length takes no part in a length-controlled mean: longer answers that are scored for length alone gain none", () => {
    const own = { values: [2, 4, 6], words: [20, 40, 60] };
    const base = { values: [1, 2, 3], words: [10, 20, 30] };
    near(slopePerWord([own, base]), 0.1, 1e-12, "the slope");
    near(lengthControlledMean(own, base), 2, 1e-12, "as the base's mean");
    assert.equal(slopePerWord([{ values: [1, 2], words: [5, 5] }]), 0, "equal lengths say nothing");
  });
});

describe("Elo", () => {
  it("moves both by 32 (outcome - expected) and puts the base at 1000", () => {
    assert.equal(eloAgainstBase([]), 1000);
    assert.equal(eloAgainstBase([1]), 1032); // 1016 against 984
    // From 32 apart, E = 1 / (1 + 10^(-32/400)) = 0.54593.
    near(eloAgainstBase([1, 0]), 1032 - 64 / (1 + 10 ** (-32 / 400)), 1e-9, "after a win and a loss");
    near(eloAgainstBase([0.5, 0.5]), 1000, 1e-9, "after ties");
    near(eloAgainstBase([0, 0]) + eloAgainstBase([1, 1]), 2000, 1e-9, "both sides");
  });

  it("gives intervals that hold the rating, and counts the games", () => {
    const games = Array.from({ length: 60 }, (_, i) => i % 3 === 0 ? 0 : i % 5 === 0 ? 0.5 : 1);
    const rated = rateGames(games as (0 | 0.5 | 1)[], { seed: 1, resamples: 300 });
    assert.deepEqual([rated.wins, rated.ties, rated.losses], [32, 8, 20]);
    assert.equal(rated.win_rate, 0.6);
    assert.ok(rated.win_rate_interval[0] < 0.6 && rated.win_rate_interval[1] > 0.6);
    assert.ok(rated.elo_interval[0] < rated.elo && rated.elo < rated.elo_interval[1]);
    assert.throws(() => rateGames([], { seed: 1 }), /at least 1 member/);
  });
});
