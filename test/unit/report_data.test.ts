/** What a page's own program is given, and how large a page can become. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pageData } from "../../src/tracking/report_data.ts";
import { comparisonPage, runPage } from "../../src/tracking/report_page.ts";
import { runOf } from "./run_of.ts";
import { thinned } from "../../src/tracking/statistics.ts";

const sampleOf = (text: string, cost = -1) => ({
  prompt: text,
  completion: text,
  reward: 1,
  cost,
  combined: 1,
  unsafe: cost > 0,
});

test("a run's columns stand over its steps, completions, tokens and minutes, also at a row that has an evaluation alone", () => {
  const { runs: [{ x, columns }], plots } = pageData([
    runOf([
      { step: 0, "eval/safe_ratio": 0.5 },
      { step: 1, num_tokens: 100, step_time: 30, kl: 0.25, "safety/total_count_batch": 60 },
      { step: 2, num_tokens: 250, step_time: 90, kl: NaN },
    ]),
  ]);
  assert.deepEqual(x, {
    step: [0, 1, 2],
    completions: [0, 60, 60],
    tokens: [0, 100, 250],
    minutes: [0, 0.5, 2],
  });
  assert.deepEqual(columns, { "eval/safe_ratio": [0.5, null, null], kl: [null, 0.25, null] });
  assert.deepEqual(plots.map(({ series }) => series.map(({ name }) => name)), [["eval/safe_ratio"], ["kl"]]);
});

test("of a long run a point is the mean of neighbouring steps, the values left out that are not finite", () => {
  const rows = Array.from({ length: 5000 }, (_, step) => ({ step, kl: step % 3 === 0 ? NaN : 2 }));
  const { runs: [{ stepsPerPoint, x, columns }] } = pageData([runOf(rows)]);
  assert.equal(stepsPerPoint, 3);
  assert.equal(x.step[1], 4);
  assert.ok(columns.kl.length < 2000 && columns.kl.every((value) => value === 2));
  assert.deepEqual(thinned([1, 3, 5, 7, 9], 2), [2, 7]);
});

test("what should not happen is drawn where it does", () => {
  const titles = (value: number) =>
    pageData([
      runOf([{ step: 1, "scorer/retries": value, "scorer/wait_s": value, "updates/nonfinite": value }]),
    ])
      .plots.map(({ title }) => title);
  assert.deepEqual(titles(0), []);
  assert.deepEqual(titles(2), [
    "Seconds spent on requests to the scorer that failed",
    "Requests to the scorer that were sent again",
    "Numbers that were not finite",
  ]);
});

test("where not all samples have room, those of the end and of the start come before those between", () => {
  const samples = Array.from({ length: 300 }, () => sampleOf("x".repeat(700)));
  const tables = [1, 2, 3].map((step) => ({ split: "train" as const, step, samples }));
  const shown = pageData([runOf([], { tables })]);
  assert.equal(shown.samplesTotal, 900);
  const of = (step: number) => shown.samples.filter((sample) => sample.step === step).length;
  assert.deepEqual([of(3), of(2)], [300, 0]);
  assert.ok(of(1) > 50 && of(1) < 300);
});

test("tokens are shown as far as there is room, of the end first, and only where a log-prob is known", () => {
  const tokens = (count: number) =>
    Array.from(
      { length: count },
      (_, i) => ({ text: `\u{1b}t${i}`, logprob: -1 / 3, refLogprob: i % 2 ? null : -2 }),
    );
  const tables = [1, 2].map((step) => ({
    split: "train" as const,
    step,
    samples: Array.from({ length: 40 }, (_, i) => ({ ...sampleOf("x"), tokens: tokens(i === 0 ? 3 : 400) })),
  }));
  const { samples } = pageData([runOf([], { tables })]);
  assert.equal(samples.length, 80);
  assert.deepEqual(samples[0].tokens, {
    texts: [0, 1, 2].map((i) => `\\u{1b}t${i}`),
    logprobs: [-0.33333, -0.33333, -0.33333],
    refLogprobs: [-2, null, -2],
  });
  const shown = samples.filter((sample) => sample.tokens !== undefined);
  const of = (step: number) => shown.filter((sample) => sample.step === step).length;
  assert.ok(of(2) > 10 && of(2) < 40 && of(1) <= 1, `${of(2)}, ${of(1)}`);
  const unknown = [{ text: "t", logprob: null, refLogprob: null }];
  const none = { split: "train" as const, step: 1, samples: [{ ...sampleOf("x"), tokens: unknown }] };
  assert.equal(pageData([runOf([], { tables: [none] })]).samples[0].tokens, undefined);
});

test("a page has 3 MB at the most, whatever the runs hold", () => {
  const rows = Array.from({ length: 8000 }, (_, step) => ({
    step,
    ...Object.fromEntries(
      ["loss", "kl", "entropy", "reward_std", "grad_norm", "cost/mean"].map((
        name,
      ) => [name, Math.sin(step) / 7]),
    ),
    ...Object.fromEntries(
      Array.from({ length: 12 }, (_, i) => [`rewards/${i}/mean`, Math.cos(step * i) / 3]),
    ),
  }));
  // What grows most by being escaped.
  const samples = Array.from({ length: 40 }, () => sampleOf("<\u0007&".repeat(30_000)));
  const points = Array.from({ length: 20_000 }, (_, i) => Math.sin(i) / 3);
  const worst = runOf(rows, {
    tables: (["train", "eval"] as const).flatMap((split) =>
      [1, 2, 3].map((step) => ({ split, step, samples }))
    ),
    scatters: (["train", "eval"] as const).flatMap((split) =>
      [1, 2, 3].map((step) => ({ split, step, from_step: 1, total: 9e9, rewards: points, costs: points }))
    ),
    config: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`key${i}`, "<".repeat(5000)])),
    changes: Array.from({ length: 5000 }, (_, step) => ({ step, key: "<".repeat(5000), before: 1, now: 2 })),
  });
  const size = Buffer.byteLength(runPage(worst));
  assert.ok(size < 3e6, String(size));
  const runs = Array.from(
    { length: 12 },
    (_, i) => ({ ...worst, name: `<${i}>`.repeat(100), config: { i } }),
  );
  const compared = Buffer.byteLength(comparisonPage(runs));
  assert.ok(compared < 3e6, String(compared));
});
