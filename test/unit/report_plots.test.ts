import assert from "node:assert/strict";
import { test } from "node:test";
import { comparisonPage, runPage } from "../../src/tracking/report_page.ts";
import { comparisonPlots, runPlots, scatterPlots } from "../../src/tracking/report_plots.ts";
import type { MetricRow } from "../../src/tracking/metrics.ts";
import type { RunRecords } from "../../src/tracking/run_records.ts";
import { runOf } from "./run_of.ts";

/** Values 1 and 2 of each of these metrics, at steps 4 and 8. */
const rowsOf = (...names: string[]) =>
  [4, 8].map((step, i) => ({
    step,
    ...Object.fromEntries(names.map((name) => [name, i + 1])),
  })) as MetricRow[];

const titleOf = (figure: string) => /<text class="title"[^>]*>([^<]*)/.exec(figure)?.[1];
const labelsOf = (figure: string) =>
  [...figure.matchAll(/<li class="s\d">([^<]*)/g)].map(([, label]) => label);

test("a plot is shown for each metric that the run has logged, and for no other", () => {
  const shown = (...names: string[]) => runPlots(runOf(rowsOf(...names))).map(titleOf);
  assert.deepEqual(shown(), []);
  assert.deepEqual(shown("lambda/value"), ["Weight of the cost, lambda"]);
  assert.deepEqual(shown("kl", "entropy"), [
    "KL to the reference policy, nats per token",
    "Entropy of the policy, nats per token",
  ]);
});

test("a plot of several metrics names each that is there, one alone needs no legend", () => {
  const legends = (...names: string[]) => runPlots(runOf(rowsOf(...names))).map(labelsOf);
  assert.deepEqual(legends("safety/safe_ratio", "eval/safe_ratio"), [["training", "evaluation"]]);
  assert.deepEqual(legends("eval/safe_ratio"), [[]]);
  assert.deepEqual(legends("helpfulness/mean", "cost/mean"), [["reward", "cost"]]);
  assert.deepEqual(legends("lambda/J_C", "lambda/J_C_ema"), [["of the step", "moving average (J_C_ema)"]]);
  const lengths = ["mean", "min", "max"].map((name) => `completions/${name}_length`);
  assert.deepEqual(legends(...lengths), [["mean", "shortest", "longest"]]);
  const phases = ["generate", "score", "update"];
  assert.deepEqual(legends(...phases.map((name) => `seconds/${name}`)), [phases]);
});

test("the cost threshold is drawn at -d where d is known, 0 as a plain 0", () => {
  const figure = (d?: number) =>
    runPlots(runOf(rowsOf("cost/mean").map((row) => d === undefined ? row : { ...row, "lambda/d": d })))[0]!;
  const threshold = (d: number) => Number(/class="threshold"[^>]* y1="([\d.]+)"/.exec(figure(d))![1]);
  assert.ok(!figure().includes("cost threshold"));
  assert.ok(figure(0).includes("cost threshold"));
  // Higher values stand higher, at smaller y; the values of the plot are 1 and 2.
  assert.ok(threshold(-3) < threshold(-1.5));
  assert.ok(threshold(-1.5) < threshold(1.5));
});

test("comparisonPlots() lays over each other what at least one run has logged", () => {
  const runs = [runOf(rowsOf("kl"), { name: "a" }), runOf(rowsOf("entropy"), { name: "b" })];
  assert.deepEqual(comparisonPlots(runs).map(titleOf), [
    "KL to the reference policy, nats per token",
    "Entropy of the policy, nats per token",
  ]);
  assert.deepEqual(comparisonPlots([runOf([])]), []);
  assert.match(comparisonPlots(runs)[0]!, /a: first 1, last 2, between 1 and 2\./);
});

test("a scatter plot says its split and steps, what it stands for, and how many are helpful", () => {
  const rewards = [1, -1, 0];
  const costs = [5, -5, 0];
  const scatters: RunRecords["scatters"] = [
    { split: "train", step: 10, from_step: 1, total: 9, rewards, costs },
    { split: "train", step: 20, from_step: 20, total: 3, rewards: [2, 3, -40], costs },
    { split: "eval", step: 20, from_step: 20, total: 3, rewards, costs },
  ];
  const plots = scatterPlots(runOf([], { scatters }));
  assert.deepEqual(plots.map(titleOf), ["Training, steps 1–10", "Training, step 20", "Evaluation, step 20"]);
  const captions = plots.map((plot) => /<figcaption>(.*)<\/figcaption>/.exec(plot)?.[1]);
  assert.deepEqual(captions, [
    "3 of 9 completions shown; 1 of them helpful (reward above 0).",
    "3 completions; 2 of them helpful (reward above 0).",
    "3 completions; 1 of them helpful (reward above 0).",
  ]);
  // All on the same axes: the same tick of -40 stands in each.
  for (const plot of plots) assert.match(plot, />-40</);
});

test("a page of a run has the sections that there is something for, newest samples first", () => {
  const sample = { prompt: "p", completion: "c <b>", reward: 1.5, cost: -2, combined: 3.25, unsafe: false };
  const tables: RunRecords["tables"] = [
    { split: "train", step: 2, samples: [sample] },
    { split: "eval", step: 9, samples: [{ ...sample, unsafe: true }] },
  ];
  const html = runPage(runOf(rowsOf("kl"), { tables, config: { seed: 7, name: "x", beta: [1] } }));
  const headings = [...html.matchAll(/<h2>([^<]*)/g)].map(([, title]) => title);
  assert.deepEqual(headings, [
    "In numbers",
    "Over the steps",
    "Evaluation samples, step 9",
    "Training samples, step 2",
    "Config",
  ]);
  assert.match(html, /steps 4 to 8\./);
  const scores = '<td class="number">1.5</td><td class="number">-2</td><td class="number">3.25</td>';
  const texts = '<tr><td class="text">p</td><td class="text">c &lt;b&gt;</td>';
  assert.ok(html.includes(`${texts}${scores}<td class="safe">safe</td></tr>`));
  assert.ok(html.includes(`${texts}${scores}<td class="unsafe">unsafe</td></tr>`));
  const head = (...labels: string[]) => labels.map((label) => `>${label}</th>`).join(".*");
  assert.match(html, new RegExp(head("metric", "first", "last", "mean of first 5", "mean of last 5")));
  assert.match(html, new RegExp(head("prompt", "completion", "reward", "cost", "combined", "verdict")));
  assert.match(html, new RegExp(head("key", "value")));
  assert.match(html, /3 keys.*<code>seed<\/code><\/th><td class="text">7<.*>x<.*>\[1\]</s);
  assert.match(html, /Faint: each step\..*<figure>/s);
});

test("a page of a run that has only begun has no empty section", () => {
  const html = runPage(runOf([]));
  assert.match(html, /GRPO run, no steps yet/);
  assert.deepEqual([...html.matchAll(/<h2>([^<]*)/g)].map(([, title]) => title), [
    "In numbers",
    "Over the steps",
  ]);
  assert.match(html, /<tbody><\/tbody>/);
  assert.match(html, /<div class="plots"><\/div>/);
});

test("a comparison has a column for each metric that some run has, empty where a run has it not", () => {
  const html = comparisonPage([
    runOf([{ step: 1, kl: 0.12345 }, { step: 2, kl: 0.23456 }], { name: "a" }),
    runOf(rowsOf("cost/mean"), { name: "b" }),
  ]);
  assert.match(html, /<h1>2 runs compared/);
  assert.match(
    html,
    />run<\/th><th scope="col" class="number">Cost<\/th><th scope="col" class="number">KL to the reference, nats per token<\/th><\/tr>/,
  );
  assert.ok(html.includes('>a</th><td></td><td class="number">0.123 → <b>0.235</b></td></tr>'));
  assert.ok(html.includes('>b</th><td class="number">1 → <b>2</b></td><td></td></tr>'));
});

test("the page tells what was changed on the way, and which evaluation was the best", () => {
  const rows = [0.5, 0.75, 0.25].map((value, i) => ({
    step: 4 * (i + 1),
    "eval/mean_cost": value,
    "eval/total_samples": 1,
  }));
  const changes = [{ step: 5, key: "train_jsonl", before: "<b>", now: null }];
  const config = { metric_for_best_model: "mean_cost", load_best_model_at_end: true };
  const page = runPage(runOf(rows, { changes, config }));
  assert.match(
    page,
    /Best evaluation: eval\/mean_cost 0\.25 after step 12; its weights are the final ones\./,
  );
  assert.match(
    page,
    /<td class="number">5<\/td><th scope="row"><code>train_jsonl<\/code><\/th>.*&quot;&lt;b&gt;&quot;/,
  );
  assert.doesNotMatch(runPage(runOf(rows)), /Best evaluation|Changed on the way/);
});
