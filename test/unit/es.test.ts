/** Evolution strategies, their formulas: who the members are, how fit, what an update adds; and the noise's statistics. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fitnessOf, gridOf, LARGEST_NOISE, type Member, membersOf, updateTerms } from "../../src/rl/es.ts";
import { normalNoise } from "../../src/rl/rng.ts";

const PLAIN = { es_standardize_within_batch: false, es_safe_first: false, es_safe_first_factor: 0 };
const POPULATION = { seed: 42, es_population_size: 6, es_noise: "iid" as const };

const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const noise = (seed: number, tensor: number, count: number) =>
  Array.from({ length: count }, (_, e) => normalNoise(seed, tensor, e));
function correlation(a: readonly number[], b: readonly number[]): number {
  const [ma, mb] = [meanOf(a), meanOf(b)];
  const over = (f: (i: number) => number) => meanOf(a.map((_, i) => f(i)));
  return over((i) => (a[i] - ma) * (b[i] - mb)) /
    Math.sqrt(over((i) => (a[i] - ma) ** 2) * over((i) => (b[i] - mb) ** 2));
}

test("fitness is mean reward minus lambda times mean cost", () => {
  assert.equal(fitnessOf([1, 2, 6], [3, -1, 1], 2, PLAIN), 3 - 2);
});

test("safe first multiplies rewards of costs above 0, and of no others, by the factor", () => {
  const hard = { ...PLAIN, es_safe_first: true };
  assert.equal(fitnessOf([1, 2, 6], [3, -1, 0], 0, hard), 8 / 3);
  assert.equal(fitnessOf([1, 2, 6], [3, -1, 0], 0, { ...hard, es_safe_first_factor: 0.5 }), 8.5 / 3);
  assert.equal(fitnessOf([1, 2, 6], [3, -1, 0], 0, { ...PLAIN, es_safe_first_factor: 0.5 }), 3);
});

test("standardising within the batch divides by the population deviation and does not centre", () => {
  const scaled = { ...PLAIN, es_standardize_within_batch: true };
  const [rewards, costs] = [[1, 3], [2, 6]]; // deviations 1 and 2
  assert.ok(Math.abs(fitnessOf(rewards, costs, 0.5, scaled) - (2 - 0.5 * 2)) < 1e-7); // 1e-8 beside each deviation
});

test("fitness and coefficients are those of the original's formulas in Python", () => {
  const { cases } = JSON.parse(readFileSync(new URL("../golden/es.json", import.meta.url), "utf8"));
  assert.equal(cases.length, 4);
  for (
    const { lambda, alpha, standardize, safe_first, factor, rewards, costs, fitness, coefficients } of cases
  ) {
    const config = {
      es_standardize_within_batch: standardize,
      es_safe_first: safe_first,
      es_safe_first_factor: factor,
    };
    const scores = rewards.map((own: number[], n: number) => fitnessOf(own, costs[n], lambda, config));
    const members = scores.map((_: number, seed: number) => ({ seed, sign: 1 as const }));
    const terms = updateTerms(members, scores, alpha)!;
    for (const [n, expected] of fitness.entries()) {
      assert.ok(Math.abs(scores[n] - expected) < 1e-12 * Math.max(1, Math.abs(expected))); // sums in another order
      const off = Math.abs(terms[n].coefficient - coefficients[n]);
      assert.ok(off <= 2 ** -23 * Math.abs(coefficients[n])); // rounded to f32
    }
  }
});

test("fitness of no completions, or of unequal lists, is refused", () => {
  assert.throws(() => fitnessOf([], [], 1, PLAIN), /at least one, got 0 and 0/);
  assert.throws(() => fitnessOf([1], [1, 2], 1, PLAIN), /got 2 and 1/);
});

test("an update adds alpha / N of the standardised fitness, as f32", () => {
  const members: Member[] = [{ seed: 5, sign: 1 }, { seed: 7, sign: 1 }];
  assert.deepEqual(updateTerms(members, [1, 3], 0.5), [
    { seed: 5, coefficient: Math.fround(-0.25 / (1 + 1e-8)) },
    { seed: 7, coefficient: Math.fround(0.25 / (1 + 1e-8)) },
  ]);
});

test("an antithetic pair makes one term, the difference of the two", () => {
  const members = membersOf(1, { ...POPULATION, es_population_size: 4, es_noise: "antithetic" });
  assert.deepEqual(members.map(({ sign }) => sign), [1, -1, 1, -1]);
  assert.equal(members[0].seed, members[1].seed);
  assert.notEqual(members[1].seed, members[2].seed);
  const terms = updateTerms(members, [1, 0, 0, 1], 4)!;
  assert.deepEqual(terms.map(({ seed }) => seed), [members[0].seed, members[2].seed]);
  assert.ok(Math.abs(terms[0].coefficient - 2) < 1e-6 && Math.abs(terms[1].coefficient + 2) < 1e-6);
});

test("members that are all as fit move nothing, and a fitness that is no number makes no update", () => {
  const members = membersOf(1, POPULATION);
  const equal = updateTerms(members, members.map(() => 0.1), 1)!;
  assert.ok(equal.every(({ coefficient }) => Math.abs(coefficient) < 1e-6));
  assert.equal(updateTerms(members, [1, 2, NaN, 4, 5, 6], 1), null);
  assert.throws(() => updateTerms(members, [1], 1), /a fitness for each of 6, got 1/);
});

test("seeds differ from member to member, iteration to iteration and run to run, and come back", () => {
  const seeds = [1, 2, 3].flatMap((iteration) => membersOf(iteration, POPULATION).map(({ seed }) => seed));
  const others = membersOf(1, { ...POPULATION, seed: 43 }).map(({ seed }) => seed);
  assert.equal(new Set([...seeds, ...others]).size, 24);
  assert.deepEqual(membersOf(2, POPULATION), membersOf(2, POPULATION));
});

test("noise has mean 0, variance 1 and the tails of a normal", () => {
  const values = noise(3, 1, 40_000);
  // Deviations of the estimates: 0.005, 0.007, 0.024; these are four of each.
  assert.ok(Math.abs(meanOf(values)) < 0.02);
  assert.ok(Math.abs(meanOf(values.map((x) => x * x)) - 1) < 0.03);
  assert.ok(Math.abs(meanOf(values.map((x) => x ** 4)) - 3) < 0.2);
  const beyond = values.filter((x) => Math.abs(x) > 2).length / values.length;
  assert.ok(Math.abs(beyond - 0.0455) < 0.005, `${beyond} beyond two deviations`);
  assert.ok(values.every((x) => Math.abs(x) <= LARGEST_NOISE));
});

test("noise of neighbours, of another tensor and of another seed is independent", () => {
  const one = noise(3, 1, 20_000);
  const others = {
    "the next element": [...one.slice(1), one[0]],
    "the next but one": [...one.slice(2), ...one.slice(0, 2)],
    "the next of four": [...one.slice(4), ...one.slice(0, 4)],
    "another tensor": noise(3, 2, 20_000),
    "another seed": noise(4, 1, 20_000),
  };
  for (const [name, other] of Object.entries(others)) {
    const found = correlation(one, other);
    assert.ok(Math.abs(found) < 0.03, `${name}: ${found}`); // four deviations of the estimate
  }
});

test("a grid has room for four times the largest weight, the largest noise, and 2^13 steps of a small tensor's sigma", () => {
  for (const [largest, sigma] of [[0, 1e-3], [0.02, 1e-3], [1, 1e-3], [37, 1e-4], [0.5, 0.1]]) {
    const { step, limit } = gridOf(largest, sigma);
    assert.ok(Number.isInteger(Math.log2(step)), "a power of two");
    assert.ok(limit + LARGEST_NOISE * sigma < 2 ** 24 * step, "sums with noise are exact");
    assert.ok(limit >= 0.99 * Math.max(4 * largest, 1000 * sigma) / 1.02, `room: ${limit}`);
    assert.equal(limit % step, 0);
    if (largest <= 256 * sigma) assert.ok(sigma / step >= 2 ** 12);
  }
});
