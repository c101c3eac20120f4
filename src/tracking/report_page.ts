/** The report as one HTML page that needs nothing else: no script, no request, light and dark. */
import { bestAfter, type BestConfig, type BestState, bestText } from "../rl/best_metric.ts";
import type { MetricName, MetricRow } from "./metrics.ts";
import { formatNumber } from "./plot_axes.ts";
import { PLOT_CSS, plotLegend } from "./plot_svg.ts";
import { escapeHtml } from "./printable.ts";
import { comparisonPlots, runPlots, scatterPlots } from "./report_plots.ts";
import type { RunRecords, SettingChange } from "./run_records.ts";
import { type SampleTable, scoreNames } from "./samples.ts";
import { TREND_STEPS, trendOf } from "./trend.ts";

const HEADLINES: readonly (readonly [name: MetricName, label: string])[] = [
  ["safety/safe_ratio", "Safe ratio"],
  ["helpfulness/mean", "Helpfulness (reward)"],
  ["cost/mean", "Cost"],
  ["lambda/value", "lambda"],
  ["eval/safe_ratio", "Safe ratio, evaluation"],
  ["eval/mean_reward", "Helpfulness, evaluation"],
  ["kl", "KL"],
];

const SHORT_RUN_NOTE = `<p class="note">Where a metric has fewer than ${
  2 * TREND_STEPS
} values, the means take half of them each.</p>`;

/** Page of one run. */
export function runPage(run: RunRecords): string {
  const steps = run.rows.length === 0
    ? "no steps yet"
    : `steps ${run.rows[0].step} to ${run.rows.at(-1)!.step}`;
  const scatters = scatterPlots(run);
  return page(run.name, [
    `<p class="lead">GRPO run, ${steps}.${escapeHtml(bestSentence(run))}</p>`,
    section("In numbers", headlineTable(run.rows)),
    section("Over the steps", SMOOTHING_NOTE + plots(runPlots(run))),
    ...(run.changes.length === 0 ? [] : [section("Changed on the way", changesTable(run.changes))]),
    ...(scatters.length === 0 ? [] : [section("Reward against cost", plots(scatters))]),
    ...run.tables.toReversed().map(sampleSection),
    ...(Object.keys(run.config).length === 0 ? [] : [section("Config", configTable(run.config))]),
  ]);
}

/** Page that lays several runs, such as a sweep over beta, over each other. */
export function comparisonPage(runs: readonly RunRecords[]): string {
  const legend = plotLegend(runs.map((run) => run.name));
  return page(`${runs.length} runs compared`, [
    section("In numbers", comparisonTable(runs)),
    section("Over the steps", `${SMOOTHING_NOTE}${legend}${plots(comparisonPlots(runs))}`),
  ]);
}

function headlineTable(rows: readonly MetricRow[]): string {
  const lines = HEADLINES.flatMap(([name, label]) => {
    const trend = trendOf(rows, name);
    if (trend === undefined) return [];
    const cells = [trend.first, trend.last, trend.firstMean, trend.lastMean].map(numberCell);
    return [`<tr><th scope="row">${label}</th>${cells.join("")}</tr>`];
  });
  const columns = ["first", "last", `mean of first ${TREND_STEPS}`, `mean of last ${TREND_STEPS}`].map(
    numeric,
  );
  return table([text("metric"), ...columns], lines) + SHORT_RUN_NOTE;
}

function comparisonTable(runs: readonly RunRecords[]): string {
  const present = HEADLINES.filter(([name]) => runs.some((run) => trendOf(run.rows, name) !== undefined));
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
  return caption + table([text("run"), ...present.map(([, label]) => numeric(label))], lines) +
    SHORT_RUN_NOTE;
}

function sampleSection({ split, step, samples }: SampleTable): string {
  const names = scoreNames(samples);
  const lines = samples.map((sample) => {
    const texts = [sample.prompt, sample.completion].map((part) =>
      `<td class="text">${escapeHtml(part)}</td>`
    );
    const parts = names.map((name) => sample.scores?.[name] ?? null);
    const numbers = [sample.reward, sample.cost, sample.combined, ...parts].map(numberCell);
    const verdict = sample.unsafe ? `<td class="unsafe">unsafe</td>` : `<td class="safe">safe</td>`;
    return `<tr>${texts.join("")}${numbers.join("")}${verdict}</tr>`;
  });
  const title = `${split === "eval" ? "Evaluation" : "Training"} samples, step ${step}`;
  const scores = ["reward", "cost", "combined", ...names].map(numeric);
  const columns = [text("prompt"), text("completion"), ...scores, text("verdict")];
  return `<section><details open><summary><h2>${title}</h2></summary>${
    table(columns, lines)
  }</details></section>`;
}

/** Which evaluation was the best, where the settings ask for one. */
function bestSentence({ rows, config }: RunRecords): string {
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

function changesTable(changes: readonly SettingChange[]): string {
  const lines = changes.map(({ step, key, before, now }) =>
    `<tr><td class="number">${formatNumber(step)}</td><th scope="row"><code>${escapeHtml(key)}</code></th>` +
    [before, now].map((value) => `<td class="text">${escapeHtml(JSON.stringify(value))}</td>`).join("") +
    "</tr>"
  );
  return table([numeric("from step"), ...["key", "before", "now"].map(text)], lines);
}

function configTable(config: RunRecords["config"]): string {
  const lines = Object.entries(config).map(([key, value]) =>
    `<tr><th scope="row"><code>${escapeHtml(key)}</code></th>` +
    `<td class="text">${escapeHtml(typeof value === "string" ? value : JSON.stringify(value))}</td></tr>`
  );
  return `<details><summary>${lines.length} keys</summary>${
    table(["key", "value"].map(text), lines)
  }</details>`;
}

/** @param value null where a score does not apply */
function numberCell(value: number | null): string {
  return `<td class="number">${value === null ? "" : formatNumber(value)}</td>`;
}

/** A column's heading, aligned like its cells. */
interface Column {
  label: string;
  align: "text" | "number";
}

function text(label: string): Column {
  return { label, align: "text" };
}

function numeric(label: string): Column {
  return { label, align: "number" };
}

function table(columns: readonly Column[], lines: readonly string[]): string {
  const head = columns.map(({ label, align }) =>
    `<th scope="col" class="${align}">${escapeHtml(label)}</th>`
  );
  return `<div class="scroll"><table><thead><tr>${head.join("")}</tr></thead>` +
    `<tbody>${lines.join("\n")}</tbody></table></div>`;
}

function section(title: string, content: string): string {
  return `<section><h2>${title}</h2>${content}</section>`;
}

const SMOOTHING_NOTE = `<p class="note">Faint: each step. Bold: moving mean over neighbouring steps.</p>`;

function plots(figures: readonly string[]): string {
  return `<div class="plots">${figures.join("\n")}</div>`;
}

const PAGE_CSS = `
:root{color-scheme:light dark;--back:#fff;--front:#1f2937;--line:#d1d5db;--soft:#6b7280;--good:#00694c;
--bad:#b23c00}
@media (prefers-color-scheme:dark){:root{--back:#111827;--front:#e5e7eb;--line:#374151;--soft:#9ca3af;
--good:#2fc79a;--bad:#ff8f4d}}
body{max-width:76rem;margin:0 auto;padding:1rem 1.25rem 4rem;background:var(--back);color:var(--front);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:.5rem 0 0}h2{font-size:1.15rem;margin:2rem 0 .5rem;display:inline-block}
.lead,.note,figcaption{color:var(--soft);margin:0}.note{font-size:.85rem}figure{margin:0}
figcaption{font-size:.85rem;padding-left:.3rem}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(26rem,100%),1fr));gap:1.5rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
.text,th[scope=row]{text-align:left}
th[scope=col]{color:var(--soft);font-weight:500;vertical-align:bottom}th[scope=row]{font-weight:500}
.number{text-align:right;font-variant-numeric:tabular-nums}td.number{white-space:nowrap}
td.text{white-space:pre-wrap;overflow-wrap:anywhere;min-width:14rem}
.safe{color:var(--good)}.unsafe{color:var(--bad);font-weight:600}summary{cursor:pointer}
`;

/**
 * The policy forbids every request and script: text of the model stays text, even past a mistake in escaping.
 */
const CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'";

function page(title: string, sections: readonly string[]): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${CONTENT_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title><style>${PAGE_CSS}${PLOT_CSS}</style></head>
<body><main><h1>${escapeHtml(title)}</h1>
${sections.join("\n")}
</main></body></html>
`;
}
