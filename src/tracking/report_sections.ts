/** What a report says in tables: how metrics went, what was set and what was changed. */
import { bestAfter, type BestConfig, type BestState, bestText } from "../rl/best_metric.ts";
import { equalBudgets } from "./budgets.ts";
import { type Labelled, lambdaMetrics, ofEachCost } from "./cost_names.ts";
import type { LambdaConfig } from "../rl/lambda.ts";
import { LAMBDA_RULES } from "../rl/lambda/rules.ts";
import { lambdaFindings } from "./lambda_findings.ts";
import type { MetricName, MetricRow } from "./metrics.ts";
import { formatNumber } from "./plot_axes.ts";
import { frontierPlot } from "./plot_svg.ts";
import { escapeHtml, truncateText } from "./printable.ts";
import { numberCell, numeric, table, text } from "./report_table.ts";
import type { RunRecords, SettingChange } from "./run_records.ts";
import { TREND_STEPS, trendOf } from "./trend.ts";

/** Characters of a name or a value. */
const VALUE_CHARACTERS = 300;
/** Of a fact: a command may have many settings, and is to be copied whole. */
const FACT_CHARACTERS = 4000;

const shortText = (value: string) => escapeHtml(truncateText(value, VALUE_CHARACTERS));

/** Of the tokens that training sampled, by the k3 estimate; the reference is what the run began with. */
const KL_LABEL = "KL to the reference, nats per token";

const headlinesOf = (rows: readonly MetricRow[]): Labelled[] => [
  ["safety/safe_ratio", "Safe ratio"],
  ["helpfulness/mean", "Helpfulness (reward)"],
  ["cost/mean", "Cost"],
  ...ofEachCost(rows, "", "mean", "Cost"),
  ...lambdaMetrics(rows, "value", "lambda"),
  ["eval/safe_ratio", "Safe ratio, evaluation"],
  ["eval/mean_reward", "Helpfulness, evaluation"],
  ...ofEachCost(rows, "eval/", "mean", "Cost, evaluation"),
  ["kl", KL_LABEL],
];

const SHORT_RUN_NOTE = `<p class="note">Where a metric has fewer than ${
  2 * TREND_STEPS
} values, the means take half of them each.</p>`;

/** How the most telling metrics went. */
export function headlineTable(rows: readonly MetricRow[]): string {
  const lines = headlinesOf(rows).flatMap(([name, label]) => {
    const trend = trendOf(rows, name);
    if (trend === undefined) return [];
    const cells = [trend.first, trend.last, trend.firstMean, trend.lastMean].map(numberCell);
    return [`<tr><th scope="row">${shortText(label)}</th>${cells.join("")}</tr>`];
  });
  const columns = ["first", "last", `mean of first ${TREND_STEPS}`, `mean of last ${TREND_STEPS}`].map(
    numeric,
  );
  return table([text("metric"), ...columns], lines) + SHORT_RUN_NOTE;
}

/** The same of several runs, a run to a line. */
export function comparisonTable(runs: readonly RunRecords[]): string {
  const all = new Map(runs.flatMap(({ rows }) => headlinesOf(rows)));
  const present = [...all].filter(([name]) => runs.some((run) => trendOf(run.rows, name) !== undefined));
  const lines = runs.map((run) => {
    const cells = present.map(([name]) => {
      const trend = trendOf(run.rows, name);
      return trend === undefined
        ? "<td></td>"
        : `<td class="number">${formatNumber(trend.firstMean, 3)} → <b>${
          formatNumber(trend.lastMean, 3)
        }</b></td>`;
    });
    return `<tr><th scope="row">${escapeHtml(run.name)}</th>${cells.join("")}</tr>`;
  });
  const caption =
    `<p class="lead">Mean of the first ${TREND_STEPS} → mean of the last ${TREND_STEPS} values.</p>`;
  return caption + table([text("run"), ...present.map(([, label]) => numeric(shortText(label)))], lines) +
    SHORT_RUN_NOTE;
}

/** Settings that were others before a step. */
export function changesTable(changes: readonly SettingChange[]): string {
  const lines = changes.map(({ step, key, before, now }) =>
    `<tr><td class="number">${formatNumber(step)}</td><th scope="row"><code>${shortText(key)}</code></th>` +
    [before, now].map((value) => `<td class="text">${shortText(JSON.stringify(value))}</td>`).join("") +
    "</tr>"
  );
  return table([numeric("from step"), ...["key", "before", "now"].map(text)], lines);
}

/** All settings. */
export function configTable(config: RunRecords["config"]): string {
  const lines = Object.entries(config).map(([key, value]) =>
    `<tr><th scope="row"><code>${shortText(key)}</code></th>` +
    `<td class="text">${shortText(typeof value === "string" ? value : JSON.stringify(value))}</td></tr>`
  );
  return `<details><summary>${lines.length} keys</summary>${
    table(["key", "value"].map(text), lines)
  }</details>`;
}

/** Which evaluation was the best, where the settings ask for one. */
export function bestSentence({ rows, config }: RunRecords): string {
  const settings = {
    metric_for_best_model: null,
    greater_is_better: null,
    early_stopping_patience: null,
    early_stopping_threshold: 0,
    ...config,
  } as BestConfig;
  const name = settings.metric_for_best_model;
  if (typeof name !== "string") return "";
  const best = rows.filter((row) => row["eval/total_samples"] !== undefined)
    .reduce<BestState | null>((before, row) => bestAfter(before, row, settings), null);
  if (best === null) return "";
  const whose = config.load_best_model_at_end === true ? "; its weights are the final ones" : "";
  return ` Best evaluation: ${bestText(best)}${whose}.`;
}

/** What is to be known of a lambda that no longer does its work at the run's end; empty where it does. */
export function lambdaNotes({ rows, config }: RunRecords): string {
  if (typeof config.lambda_rule !== "string" || !Object.hasOwn(LAMBDA_RULES, config.lambda_rule)) return "";
  const findings = lambdaFindings(rows, config as unknown as LambdaConfig);
  return findings.map(({ text }) => `<p class="lead">At the end ${escapeHtml(text)}.</p>`).join("");
}

/** First and last evaluation, number by number; empty where there are not two. */
export function beforeAfterTable(rows: readonly MetricRow[]): string {
  const evaluations = rows.filter((row) => row["eval/total_samples"] !== undefined);
  if (evaluations.length < 2) return "";
  const [first, last] = [evaluations[0], evaluations.at(-1)!];
  const lines = [...BEFORE_AFTER, ...ofEachCost(rows, "eval/", "mean", "Cost")].flatMap(([name, label]) => {
    const [before, after] = [first[name], last[name]];
    if (before === undefined || after === undefined) return [];
    const cells = [before, after, after - before].map(numberCell).join("");
    return [`<tr><th scope="row">${shortText(label)}</th>${cells}</tr>`];
  });
  const kl = trendOf(rows, "kl");
  // A run's first evaluation is of the reference itself where nothing was trained by then.
  if (kl !== undefined && first.step === 0) {
    lines.push(
      `<tr><th scope="row">${KL_LABEL}, last ${TREND_STEPS} steps of training</th>${
        [0, kl.lastMean, kl.lastMean].map(numberCell).join("")
      }</tr>`,
    );
  }
  const columns = [`step ${first.step}`, `step ${last.step}`, "change"].map(numeric);
  return table([text("evaluation"), ...columns], lines);
}

const BEFORE_AFTER: readonly (readonly [name: MetricName, label: string])[] = [
  ["eval/safe_ratio", "Safe ratio"],
  ["eval/unsafe_share_high", "Unsafe share at the most (exact, 97.5 %)"],
  ["eval/mean_reward", "Helpfulness (reward)"],
  ["eval/mean_cost", "Cost"],
  ["eval/mean_combined", "Combined"],
];

/** Settings in which the runs differ; empty where they do not. */
export function differencesTable(runs: readonly RunRecords[]): string {
  const keys = [...new Set(runs.flatMap(({ config }) => Object.keys(config)))];
  const lines = keys.flatMap((key) => {
    const values = runs.map(({ config }) => JSON.stringify(config[key]) ?? "");
    if (new Set(values).size === 1) return [];
    const cells = values.map((value) => `<td class="text short">${shortText(value)}</td>`);
    return [`<tr><th scope="row"><code>${shortText(key)}</code></th>${cells.join("")}</tr>`];
  });
  if (lines.length === 0) return "";
  return table([text("key"), ...runs.map(({ name }) => text(name))], lines);
}

/** Reward and safety of the runs where they had spent the same: their steps may be of unequal sizes. */
export function budgetsTable(runs: readonly RunRecords[]): string {
  const lines = equalBudgets(runs).flatMap(({ kind, value, runs: ends }) =>
    ends.map(({ run, step, reward, safeRatio }, i) => {
      const budget = i === 0
        ? `<th scope="row" rowspan="${ends.length}">${formatNumber(value, 3)} ${kind}</th>`
        : "";
      const cells = [step, reward, safeRatio].map(numberCell).join("");
      return `<tr>${budget}<td class="text short">${shortText(runs[run].name)}</td>${cells}</tr>`;
    })
  );
  if (lines.length === 0) return "";
  const columns = [text("all had spent"), text("run"), ...["at step", "reward", "safe ratio"].map(numeric)];
  const ofPolicy = runs.some(({ rows }) => rows.some((row) => row["unperturbed/total_count"] !== undefined))
    ? " Of evolution strategies what the policy itself wrote, not its members."
    : "";
  const lead = `Means of the last ${TREND_STEPS} rows of training within what every run spent.${ofPolicy}`;
  return `<p class="lead">${lead}</p>` + table(columns, lines);
}

/** Where the runs ended in reward and safety: by their last evaluations, where all have one. */
export function frontier(runs: readonly RunRecords[]): string {
  const ends = (names: readonly [reward: MetricName, safe: MetricName]) =>
    runs.flatMap(({ name, rows }) => {
      const [reward, safe] = names.map((metric) => trendOf(rows, metric));
      if (reward === undefined || safe === undefined) return [];
      const of = (trend: typeof reward) => names[0].startsWith("eval/") ? trend.last : trend.lastMean;
      return [{ label: name, reward: of(reward), safeRatio: of(safe) }];
    });
  const evaluated = ends(["eval/mean_reward", "eval/safe_ratio"]);
  const isOfAll = evaluated.length === runs.length;
  const points = isOfAll ? evaluated : ends(["helpfulness/mean", "safety/safe_ratio"]);
  if (points.length < 2) return "";
  const title = isOfAll
    ? "Last evaluation: reward against safe ratio"
    : `Last ${TREND_STEPS} steps of training: reward against safe ratio`;
  return `<div class="plots"><figure>${
    frontierPlot(title, points)
  }<figcaption>Up and to the right is better; ` +
    "the dashed line joins the runs that no other beats in both.</figcaption></figure></div>";
}

/** What the run's folder tells of how it was made. */
export function factsTable({ rows, facts }: RunRecords): string {
  const total = (name: MetricName) => rows.reduce((sum, row) => sum + (row[name] ?? 0), 0);
  const seconds = total("step_time");
  const own = Object.entries(facts).filter(([, value]) =>
    typeof value === "string" || typeof value === "number"
  );
  const derived: [string, string][] = seconds === 0
    ? []
    : [["time in steps", `${formatNumber(seconds / 60, 3)} minutes, ${rows.length} rows of metrics`]];
  const tokens = rows.findLast((row) => row.num_tokens !== undefined)?.num_tokens;
  if (tokens !== undefined) derived.push(["tokens", `${formatNumber(tokens)} of prompts and completions`]);
  const lines = [...own, ...derived].map(([name, value]) =>
    `<tr><th scope="row">${shortText(name)}</th><td class="text">${
      escapeHtml(truncateText(String(value), FACT_CHARACTERS))
    }</td></tr>`
  );
  return lines.length === 0 ? "" : table(["fact", "value"].map(text), lines);
}
