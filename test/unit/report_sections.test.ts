/** What a page says beside its plots: before and after, what differs between runs, and what a run was made with. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { comparisonPage, runPage } from "../../src/tracking/report_page.ts";
import type { RunRecords } from "../../src/tracking/run_records.ts";
import { runOf as recordsOf } from "./run_of.ts";

const runOf = (name: string, rows: object[], more: Partial<RunRecords> = {}) =>
  recordsOf(rows, { name, ...more });
const evaluation = (step: number, reward: number, safe: number) => ({
  step,
  "eval/mean_reward": reward,
  "eval/safe_ratio": safe,
  "eval/total_samples": 2,
});
const table = (step: number, answers: Record<string, string>): RunRecords["tables"][number] => ({
  split: "eval",
  step,
  samples: Object.entries(answers).map(([prompt, completion]) => ({
    prompt,
    completion,
    reward: 1,
    cost: 2,
    combined: 3,
    unsafe: true,
  })),
});
/** Text of a section, its tags as single spaces. */
const sectionOf = (page: string, title: string) =>
  (new RegExp(`data-part="${title}">(.*?)</section>`, "s").exec(page)?.[1] ?? "").replace(/<[^>]+>|\s+/g, " ")
    .replace(/ +/g, " ");

test("the first and the last evaluation stand side by side, in numbers and in answers to the same prompts", () => {
  const rows = [evaluation(0, -1, 0.25), evaluation(5, 0, 0.5), evaluation(9, 2, 0.75)];
  const tables = [table(0, { p: "at first", q: "alone" }), table(9, { p: "at last <b>" })];
  const text = sectionOf(runPage(runOf("a", rows, { tables })), "Before and after");
  assert.match(text, /step 0 step 9 change Safe ratio 0\.25 0\.75 0\.5 Helpfulness \(reward\) -1 2 3 /);
  assert.match(
    text,
    /prompt step 0 step 9 p at first unsafe reward 1\.00, cost 2\.00 at last &lt;b&gt; unsafe/,
  );
  assert.doesNotMatch(text, /alone/);
  assert.equal(sectionOf(runPage(runOf("a", rows.slice(0, 1))), "Before and after"), "");
  const kl = { step: 5, kl: 0.125 };
  const fromStart = sectionOf(
    runPage(runOf("a", [rows[0], kl, rows[1]])),
    "Before and after",
  );
  assert.match(
    fromStart,
    /KL to the reference, nats per token, last 5 steps of training.*0.*0\.125.*0\.125/s,
  );
  const later = [{ ...rows[0], step: 1 }, kl, rows[1]];
  assert.doesNotMatch(sectionOf(runPage(runOf("a", later)), "Before and after"), /KL/);
});

test("a lambda that stands at its bound at the end is told at the top, and one that does its work is not", () => {
  const config = { lambda_rule: "log_ema", lambda_adapt: true, lambda_pos_cost_only: true, lambda_max: 5 };
  const rows = (lambda: number) =>
    Array.from({ length: 20 }, (_, i) => ({ step: i + 1, "lambda/value": lambda, "lambda/J_C_raw": 0.5 }));
  const told = /At the end lambda stands at lambda_max = 5, and costs are above the limit nonetheless/;
  assert.match(runPage(runOf("a", rows(5), { config })), told);
  assert.doesNotMatch(runPage(runOf("a", rows(4), { config })), told);
  assert.doesNotMatch(runPage(runOf("a", rows(5), { config: { lambda_rule: "of another version" } })), told);
});

test("a comparison names the settings that differ, and no other", () => {
  const runs = [
    runOf("a", [], { config: { beta: 0.1, seed: 1, only: "<i>" } }),
    runOf("b", [], { config: { beta: 0.2, seed: 1 } }),
  ];
  const text = sectionOf(comparisonPage(runs), "Settings that differ");
  assert.match(text, /key a b beta 0\.1 0\.2 only &quot;&lt;i&gt;&quot;/);
  assert.doesNotMatch(text, /seed/);
  assert.equal(sectionOf(comparisonPage([runs[0], runs[0]]), "Settings that differ"), "");
});

test("a comparison draws where each run ended, and joins those that no other beats in reward and safety", () => {
  const ends = [[0, 0.9], [1, 0.8], [0.5, 0.7], [2, 0.5]];
  const runs = ends.map(([reward, safe], i) => runOf(`run${i}`, [evaluation(4, reward, safe)]));
  const [, plot] = /data-part="Reward and safety">(.*?)<\/section>/s.exec(comparisonPage(runs))!;
  assert.match(plot, /run2: reward 0\.5, safe ratio 0\.7\./);
  // Of four runs three are joined.
  assert.match(plot, /class="threshold" d="M[\d.]+ [\d.]+L[\d.]+ [\d.]+L[\d.]+ [\d.]+"/);
  const steps = runs.map(({ name }) =>
    runOf(name, [{ step: 1, "helpfulness/mean": 1, "safety/safe_ratio": 0.5 }])
  );
  assert.match(comparisonPage(steps), /Last 5 steps of training: reward against safe ratio/);
});

test("a comparison shows the last answers of several runs to the same prompt", () => {
  const runs = ["a", "b"].map((name) =>
    runOf(name, [], { tables: [table(1, { p: `first of ${name}` }), table(2, { p: `last of ${name}` })] })
  );
  const text = sectionOf(comparisonPage(runs), "Side by side");
  assert.match(text, /prompt a b p last of a .* last of b /);
  assert.doesNotMatch(text, /first of/);
});

test("a page tells what the run was made with, and how long its steps took", () => {
  const rows = [{ step: 1, step_time: 90, num_tokens: 500 }, { step: 2, step_time: 30, num_tokens: 900 }];
  const facts = { device: "GPU <x>", ranks: 2, odd: { a: 1 } };
  const text = sectionOf(runPage(runOf("a", rows, { facts })), "Run");
  assert.match(text, /device GPU &lt;x&gt; ranks 2 time in steps 2 minutes, 2 rows of metrics tokens 900 /);
  assert.doesNotMatch(text, /odd/);
});
